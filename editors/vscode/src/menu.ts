/** What a click on the status bar offers. */
import * as vscode from 'vscode';
import { SECTION, type Server } from './server';

type Act = () => Thenable<unknown>;

/** Show the menu and do what is chosen. */
export async function menu(server: Server): Promise<void> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  const language = vscode.window.activeTextEditor?.document.languageId;
  const run = (command: string) => () => vscode.commands.executeCommand(`pass-lsp.${command}`);
  const entries: (vscode.QuickPickItem & { act: Act })[] = [
    {
      label: settings.get<boolean>('enabled', true) ? '$(circle-slash) Switch off' : '$(check) Switch on',
      act: run('toggle'),
    },
  ];
  if (language !== undefined) {
    const off = silentLanguage() !== undefined;
    entries.push({
      label: `${off ? '$(check) Switch on' : '$(circle-slash) Switch off'} for ${language}`,
      act: run('toggleLanguage'),
    });
  }
  entries.push(
    {
      label: '$(symbol-misc) Pick a model',
      description: settings.get('model', 'embedded'),
      act: run('pickModel'),
    },
    { label: '$(debug-restart) Restart the server', act: run('restart') },
    { label: '$(output) Show the log', act: run('showLog') },
    { label: '$(pulse) Doctor', description: 'what is wrong, and the remedy', act: run('doctor') },
    {
      label: '$(graph) Statistics',
      description: 'shown, accepted, latency; on this machine only',
      act: run('stats'),
    },
    {
      label: '$(gear) Settings',
      act: () => vscode.commands.executeCommand('workbench.action.openSettings', `@ext:pass-lsp.pass-lsp`),
    },
  );
  const title = server.program === undefined ? 'pass-lsp: not installed' : 'pass-lsp';
  const picked = await vscode.window.showQuickPick(entries, { title });
  await picked?.act();
}

/** Change a setting where it is set: in the workspace if that has a value of its own, else for the user. */
async function set(key: string, value: unknown): Promise<void> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  const own = settings.inspect(key)?.workspaceValue !== undefined;
  const target = own ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await settings.update(key, value, target);
}

/** The language of the active editor, if suggestions are off for it. */
export function silentLanguage(): string | undefined {
  const language = vscode.window.activeTextEditor?.document.languageId;
  const silent = vscode.workspace.getConfiguration(SECTION).get<string[]>('disabled_languages', []);
  return language !== undefined && silent.includes(language) ? language : undefined;
}

/** Suggestions off everywhere, or on again. */
export async function toggle(): Promise<void> {
  await set('enabled', !vscode.workspace.getConfiguration(SECTION).get<boolean>('enabled', true));
}

/** Suggestions off in the language of the active editor, or on again. */
export async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language !== undefined) {
    const settings = vscode.workspace.getConfiguration(SECTION);
    const silent = settings.get<string[]>('disabled_languages', []);
    const now = silent.includes(language)
      ? silent.filter((each) => each !== language)
      : [...silent, language];
    await set('disabled_languages', now);
  }
}

/** Ask for a model and use it from now on; the change of the setting restarts the server. */
export async function pickModel(): Promise<void> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  const ways = [
    {
      label: 'embedded',
      description: 'in the package; works offline',
      pick: () => Promise.resolve('embedded'),
    },
    { label: 'A folder …', description: 'a Hugging Face model directory', pick: pickFolder },
    { label: 'A name …', description: 'a Hugging Face hub id, fetched once', pick: pickName },
  ];
  const way = await vscode.window.showQuickPick(ways, {
    title: 'pass-lsp: the model',
    placeHolder: `now ${settings.get('model', 'embedded')}`,
  });
  const model = await way?.pick();
  if (model) {
    await set('model', model);
  }
}

async function pickFolder(): Promise<string | undefined> {
  const folders = await vscode.window.showOpenDialog({ canSelectFolders: true, canSelectFiles: false });
  return folders?.[0]?.fsPath;
}

async function pickName(): Promise<string | undefined> {
  return vscode.window.showInputBox({ title: 'pass-lsp: hub id', placeHolder: 'organisation/model' });
}
