// `npm run package`: the .vsix, from a folder that holds what belongs into it and nothing else.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createVSIX } from '@vscode/vsce';

const folder = 'dist/package';
const picture = '../../docs/vscode.png';

rmSync(folder, { recursive: true, force: true });
mkdirSync(`${folder}/dist`, { recursive: true });
for (const name of ['dist/extension.js', 'walkthrough', 'icon.png', 'CHANGELOG.md']) {
  cpSync(name, `${folder}/${name}`, { recursive: true });
}
cpSync('dist/ThirdPartyNotices.txt', `${folder}/ThirdPartyNotices.txt`);
cpSync('../../LICENSE', `${folder}/LICENSE`);
cpSync(picture, `${folder}/screenshot.png`);
const page = readFileSync('README.md', 'utf8').replaceAll(picture, 'screenshot.png');
writeFileSync(`${folder}/README.md`, page.replaceAll(/\[([^\]]+)\]\(\.\.\/[^)]*\)/g, '$1')); // leads nowhere from there
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
delete manifest.scripts;
delete manifest.devDependencies;
writeFileSync(`${folder}/package.json`, JSON.stringify(manifest, null, 2));

const options = { dependencies: false, allowMissingRepository: true, rewriteRelativeLinks: false };
await createVSIX({ cwd: folder, packagePath: 'pass-lsp.vsix', ...options });
