/** Where `pass-lsp` is, and how to get it. Knows nothing of VS Code. */
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import * as path from 'node:path';

export interface Surroundings {
  /** The setting `pass-lsp.path`. */
  setting: string;
  /** Python executables of active environments, most specific first; none where the workspace is not trusted. */
  pythons: string[];
  /** The PATH. */
  searchPath: string;
  windows: boolean;
  home: string;
  exists: (file: string) => boolean;
}

/** The program, or undefined where there is none. The setting wins even if it names nothing: then so it says. */
export function findServer(around: Surroundings): string | undefined {
  const paths = around.windows ? path.win32 : path.posix;
  const name = around.windows ? 'pass-lsp.exe' : 'pass-lsp';
  if (around.setting) {
    const named = around.setting.replace(/^~(?=[/\\])/, () => around.home);
    return around.exists(named) ? named : undefined;
  }
  const folders = [
    ...around.pythons
      .map((python) => paths.dirname(python))
      .flatMap((folder) => programsBeside(folder, around.windows)),
    ...around.searchPath.split(around.windows ? ';' : ':').filter((folder) => paths.isAbsolute(folder)),
    // Where pipx and uv put programs; an editor started from a desktop often lacks it in its PATH.
    paths.join(around.home, '.local', 'bin'),
  ];
  return folders.map((folder) => paths.join(folder, name)).find(around.exists);
}

/** Whether there is a file that can be run. */
export function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Where an environment's programs are, seen from its Python: there, and on Windows in `Scripts` too. */
function programsBeside(folder: string, windows: boolean): string[] {
  return windows ? [folder, path.win32.join(folder, 'Scripts')] : [folder];
}

/** Where the Python of an environment may be: on Windows, conda has it in the root. */
export function pythonsIn(root: string, windows: boolean): string[] {
  return windows
    ? [path.win32.join(root, 'Scripts', 'python.exe'), path.win32.join(root, 'python.exe')]
    : [path.posix.join(root, 'bin', 'python')];
}

/**
 * Whether pip refuses to install there, as the system, Homebrew or uv looks after it (PEP 668). An environment made of
 * such a Python is the user's own.
 */
export function isManaged(python: string): boolean {
  try {
    if (existsSync(path.join(path.dirname(python), '..', 'pyvenv.cfg'))) {
      return false;
    }
    const library = path.join(path.dirname(realpathSync(python)), '..', 'lib');
    const marked = (folder: string) => existsSync(path.join(library, folder, 'EXTERNALLY-MANAGED'));
    return readdirSync(library)
      .filter((name) => name.startsWith('python3'))
      .some(marked);
  } catch {
    return false; // as on Windows, where it has another form
  }
}

/** The one command that installs the server: into the active environment, or else by pipx into its own. */
export function installCommand(pythons: string[], windows: boolean): string {
  const python = pythons[0];
  if (python === undefined) {
    return 'pipx install pass-lsp';
  }
  const call = windows ? '& ' : '';
  return /^[\w./:\\-]+$/.test(python)
    ? `${python} -m pip install pass-lsp`
    : `${call}"${python}" -m pip install pass-lsp`;
}
