// Stands in for the Python extension, as far as others ask it: the active interpreter is what the file `chosen` names.
const fs = require('node:fs');
const path = require('node:path');
const vscode = require('vscode');

const chosen = path.join(__dirname, 'chosen');

exports.activate = () => {
  const changes = new vscode.EventEmitter();
  fs.watchFile(chosen, { interval: 100 }, () => changes.fire({}));
  return {
    environments: {
      onDidChangeActiveEnvironmentPath: changes.event,
      getActiveEnvironmentPath: () => ({ path: fs.existsSync(chosen) ? fs.readFileSync(chosen, 'utf8') : '' }),
      resolveEnvironment: async (at) => (at.path ? { executable: { uri: vscode.Uri.file(at.path) } } : undefined),
    },
  };
};

exports.deactivate = () => fs.unwatchFile(chosen);
