/** The Python environments that are active for the workspace. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { pythonsIn } from './find';

interface PythonApi {
  environments: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
    resolveEnvironment(at: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

/** Their executables, most specific first. None in a workspace that is not trusted: it may bring its own. */
export async function activePythons(): Promise<string[]> {
  if (!vscode.workspace.isTrusted) {
    return [];
  }
  const folders = (vscode.workspace.workspaceFolders ?? []).filter((folder) => folder.uri.scheme === 'file');
  const roots = [
    process.env.VIRTUAL_ENV,
    process.env.CONDA_PREFIX,
    ...folders.map((folder) => path.join(folder.uri.fsPath, '.venv')),
  ].filter((root) => root !== undefined);
  const candidates = [
    await ofPythonExtension(folders[0]?.uri),
    ...roots.flatMap((root) => pythonsIn(root, process.platform === 'win32')),
  ];
  return candidates.filter((python) => python !== undefined).filter((python) => fs.existsSync(python));
}

async function ofPythonExtension(resource: vscode.Uri | undefined): Promise<string | undefined> {
  try {
    const python = await vscode.extensions.getExtension<PythonApi>('ms-python.python')?.activate();
    const active = python?.environments.getActiveEnvironmentPath(resource);
    const environment = active && (await python?.environments.resolveEnvironment(active));
    return environment?.executable.uri?.fsPath;
  } catch {
    return undefined; // whatever ails another extension, there are other places to look
  }
}
