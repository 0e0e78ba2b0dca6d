// `npm run package`: the .vsix, from what lies here and nothing from outside.
import { copyFileSync } from 'node:fs';
import { createVSIX } from '@vscode/vsce';

copyFileSync('../../LICENSE', 'LICENSE');
const packagePath = 'pass-lsp.vsix';
await createVSIX({
  packagePath,
  dependencies: false,
  allowMissingRepository: true,
  rewriteRelativeLinks: false,
});
