// Hands and eyes of a user in VS Code: reads one JSON command a line from stdin, answers each with one line.
// usage: node vscode.cjs PLAYWRIGHT CHROMIUM URL
const [, , playwright, chromium, url] = process.argv;
const readline = require('node:readline');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'];

// Monaco writes spaces as U+00A0, and lines in no order; what is seen is sorted by its place.
const SEEN = `(selector) => [...document.querySelectorAll(selector)]
  .map((e) => [e.getBoundingClientRect().top, e.getBoundingClientRect().left, e.textContent.replace(/\\u00a0/g, ' ')])
  .sort((a, b) => a[0] - b[0] || a[1] - b[1])`;

// Whatever pops up is written down, as it may be gone before anyone looks.
const POPUPS = `window.popups = []; new MutationObserver(() => {
  for (const e of document.querySelectorAll('.notification-toast .notification-list-item-message'))
    if (!window.popups.includes(e.textContent)) window.popups.push(e.textContent);
}).observe(document, { childList: true, subtree: true });`;

const acts = {
  open: (page) => page.goto(url, { waitUntil: 'domcontentloaded' }).then(() => page.waitForSelector('.monaco-workbench', { timeout: 60000 })).then(() => null),
  press: (page, key) => page.keyboard.press(key).then(() => null),
  type: (page, text) => page.keyboard.type(text).then(() => null),
  fill: (page, selector, text) => page.locator(selector).first().fill(text, { timeout: 60000 }).then(() => null),
  pressIn: (page, selector, key) => page.locator(selector).first().press(key, { timeout: 60000 }).then(() => null),
  seen: (page, selector) => page.evaluate(`(${SEEN})(${JSON.stringify(selector)})`),
  html: (page, selector) => page.evaluate(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.outerHTML)`),
  attribute: (page, selector, name) => page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.getAttribute(${JSON.stringify(name)}) ?? null`),
  click: (page, selector, times = 1) => page.locator(selector).first().click({ clickCount: times, timeout: 60000 }).then(() => null),
  popups: (page) => page.evaluate('window.popups.splice(0)'),
  picture: (page, path, clip) => page.screenshot({ path, ...(clip ? { clip } : {}) }).then(() => null),
};

(async () => {
  const { chromium: browser } = require(playwright);
  const running = await browser.launch({ executablePath: chromium, headless: true, args: FLAGS });
  const context = await running.newContext({ viewport: { width: 1000, height: 640 }, deviceScaleFactor: 1 });
  const page = await context.newPage();
  await page.addInitScript(POPUPS);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [act, ...rest] = JSON.parse(line);
    const answer = await acts[act](page, ...rest).then((value) => ({ value }), (error) => ({ error: String(error).slice(0, 600) }));
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  await running.close();
})();
