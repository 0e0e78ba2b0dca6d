// The Lua of a folder as StyLua wants it: `node stylua.mjs [--write] FOLDER`. The package holds StyLua as a
// library only, so this reads the folder's stylua.toml and walks the files.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as stylua from '@johnnymorganz/stylua';

const write = process.argv.includes('--write');
const folder = process.argv.at(-1);
const wanted = Object.fromEntries(
  readFileSync(path.join(folder, 'stylua.toml'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('='))
    .map((line) => line.split('=').map((part) => part.trim().replaceAll('"', ''))),
);
// Handed over with each call, so made anew for each.
function config() {
  const made = stylua.Config.new();
  made.column_width = Number(wanted.column_width);
  made.indent_width = Number(wanted.indent_width);
  made.indent_type = stylua.IndentType[wanted.indent_type];
  made.quote_style = stylua.QuoteStyle[wanted.quote_style];
  return made;
}

let unformatted = 0;
for (const name of readdirSync(folder, { recursive: true })) {
  if (!name.endsWith('.lua')) continue;
  const file = path.join(folder, name);
  const text = readFileSync(file, 'utf8');
  const formatted = stylua.formatCode(text, config(), undefined, stylua.OutputVerification.Full);
  if (formatted === text) continue;
  if (write) writeFileSync(file, formatted);
  else {
    console.error(`${file} is not formatted; run: npm run format`);
    unformatted += 1;
  }
}
process.exit(unformatted ? 1 : 0);
