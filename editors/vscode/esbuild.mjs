import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const common = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning' };
const { metafile } = await build({
  ...common,
  entryPoints: ['src/extension.ts'],
  outfile: 'dist/extension.js',
  external: ['vscode'],
  minify: true,
  metafile: true,
});
// What is bundled keeps its licence beside it; comments go.
const packages = Object.keys(metafile.inputs).map(
  (file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0],
);
const notices = [...new Set(packages.filter(Boolean))].sort().map((folder) => {
  const { name, version } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
  const licence = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  return `${name} ${version}\n\n${readFileSync(`${folder}/${licence}`, 'utf8').trim()}\n`;
});
writeFileSync('dist/ThirdPartyNotices.txt', notices.join(`\n${'='.repeat(80)}\n\n`));
await build({ ...common, entryPoints: ['test/units.test.ts'], outfile: 'dist/units.test.js' });
