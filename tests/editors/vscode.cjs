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

// What is done to an element is done within a few seconds, or not, and says which: a busy window may be slow to show it,
// or have closed it again. Whoever asks tries once more.
const did = (act) => act.then(() => true, () => false);
const first = (page, selector) => page.locator(selector).first();
const acts = {
  open: (page) => page.goto(url, { waitUntil: 'domcontentloaded', timeout: 0 }).then(() => true),
  press: (page, key) => page.keyboard.press(key),
  type: (page, text) => page.keyboard.type(text),
  fill: (page, selector, text) => did(first(page, selector).fill(text)),
  pressIn: (page, selector, key) => did(first(page, selector).press(key)),
  click: (page, selector, times = 1) => did(first(page, selector).click({ clickCount: times })),
  appears: (page, selector) => did(first(page, selector).waitFor()),
  visible: (page, selector) => first(page, selector).isVisible(),
  seen: (page, selector) => page.evaluate(`(${SEEN})(${JSON.stringify(selector)})`),
  attribute: (page, selector, name) => page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.getAttribute(${JSON.stringify(name)}) ?? null`),
  popups: (page) => page.evaluate('window.popups.splice(0)'),
  picture: (page, path) => page.screenshot({ path }).then(() => null),
};

(async () => {
  const { chromium: browser } = require(playwright);
  const running = await browser.launch({ executablePath: chromium, headless: true, args: FLAGS });
  const context = await running.newContext({ viewport: { width: 1000, height: 640 }, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.setDefaultTimeout(5000);
  await page.addInitScript(POPUPS);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [act, ...rest] = JSON.parse(line);
    const answer = await acts[act](page, ...rest).then((value) => ({ value: value ?? null }), (error) => ({ error: String(error).slice(0, 600) }));
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  await running.close();
})();
