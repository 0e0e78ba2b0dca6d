/** The Python environments that are active for the workspace. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { pythonsIn } from './find';

interface PythonApi {
  environments: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
    resolveEnvironment(at: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
    onDidChangeActiveEnvironmentPath: vscode.Event<unknown>;
  };
}

export class Pythons {
  private listening: vscode.Disposable | undefined;

  /** `changed` is called when the user picks another, once `active` has been asked for. */
  constructor(private readonly changed: () => void) {}

  /** Their executables, most specific first. None in a workspace that is not trusted: it may bring its own. */
  async active(): Promise<string[]> {
    if (!vscode.workspace.isTrusted) {
      return [];
    }
    const folders = (vscode.workspace.workspaceFolders ?? []).filter(
      (folder) => folder.uri.scheme === 'file',
    );
    const roots = [
      process.env.VIRTUAL_ENV,
      process.env.CONDA_PREFIX,
      ...folders.map((folder) => path.join(folder.uri.fsPath, '.venv')),
    ].filter((root) => root !== undefined);
    const candidates = [
      await this.ofPythonExtension(folders[0]?.uri),
      ...roots.flatMap((root) => pythonsIn(root, process.platform === 'win32')),
    ];
    return candidates.filter((python) => python !== undefined).filter((python) => fs.existsSync(python));
  }

  dispose(): void {
    this.listening?.dispose();
  }

  private async ofPythonExtension(resource: vscode.Uri | undefined): Promise<string | undefined> {
    try {
      const python = await vscode.extensions.getExtension<PythonApi>('ms-python.python')?.activate();
      this.listening ??= python?.environments.onDidChangeActiveEnvironmentPath(this.changed);
      const active = python?.environments.getActiveEnvironmentPath(resource);
      const environment = active && (await python?.environments.resolveEnvironment(active));
      return environment?.executable.uri?.fsPath;
    } catch {
      return undefined; // whatever ails another extension, there are other places to look
    }
  }
}
