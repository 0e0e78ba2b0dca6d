/** pass-lsp in VS Code: starts the server, shows its status, reports what was accepted. The suggestions are VS Code's. */
import * as vscode from 'vscode';
import type { Middleware } from 'vscode-languageclient/node';
import { type Offer, taken } from './accepts';
import { installCommand, isManaged } from './find';
import { menu, pickModel, silentLanguage, toggle, toggleLanguage } from './menu';
import { Reports } from './reports';
import { SECTION, Server } from './server';
import { render, type Status } from './status';

type Item = vscode.InlineCompletionItem;

let end: (() => Promise<void>) | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const manifest = context.extension.packageJSON as {
    contributes: { configuration: { properties: Record<string, unknown> } };
  };
  const properties = Object.keys(manifest.contributes.configuration.properties);
  const keys = properties.map((key) => key.slice(SECTION.length + 1));
  const bar = statusBar();
  const offers = new Offers();
  const server = new Server(keys, offers, bar.show, (...where) => void offerInstallation(...where));
  const reports = new Reports(server);
  const command = (name: string, run: () => unknown) =>
    vscode.commands.registerCommand(`pass-lsp.${name}`, run);
  end = () => server.end();
  context.subscriptions.push(
    server.log,
    server.pythons,
    bar.item,
    vscode.workspace.registerTextDocumentContentProvider(SECTION, reports),
    command('menu', () => menu(server)),
    command('restart', () => server.restart()),
    command('showLog', () => {
      server.log.show();
    }),
    command('toggle', toggle),
    command('toggleLanguage', toggleLanguage),
    command('pickModel', pickModel),
    command('doctor', () => reports.show('doctor')),
    command('stats', () => reports.show('stats')),
    command('acceptWord', () => offers.accept(server, 'editor.action.inlineSuggest.acceptNextWord')),
    command('acceptLine', () => offers.accept(server, 'editor.action.inlineSuggest.acceptNextLine')),
    vscode.window.onDidChangeActiveTextEditor(bar.draw),
    vscode.workspace.onDidOpenTextDocument(bar.draw), // also when its language becomes another
    vscode.workspace.onDidChangeConfiguration(bar.draw),
    vscode.workspace.onDidChangeConfiguration((event) => server.reconfigure(event)),
    vscode.extensions.onDidChange(() => server.lookAgain()), // the Python extension may have come
    vscode.workspace.onDidGrantWorkspaceTrust(() => server.restart()),
  );
  await server.restart();
}

/** VS Code waits for this, so that the server ends by itself. */
export function deactivate(): Promise<void> | undefined {
  return end?.();
}

function statusBar() {
  const item = vscode.window.createStatusBarItem('pass-lsp.status', vscode.StatusBarAlignment.Right, 100);
  item.name = 'pass-lsp';
  item.command = 'pass-lsp.menu';
  let last: Status | undefined;
  const draw = () => {
    const shown = render(last, silentLanguage());
    item.text = shown.text;
    item.tooltip = shown.tooltip;
    item.accessibilityInformation = { label: shown.tooltip }; // or an icon is read out by its name
    item.backgroundColor =
      shown.severity === 'none'
        ? undefined
        : new vscode.ThemeColor(`statusBarItem.${shown.severity}Background`);
  };
  const show = (status: Status | undefined) => {
    last = status;
    draw();
  };
  draw();
  item.show();
  return { item, show, draw };
}

/** Say that the server is missing, with the command that brings it, or that it is not at the `path` that is set. */
async function offerInstallation(path: string, pythons: string[]): Promise<void> {
  const own = pythons.filter((python) => !isManaged(python));
  const command = installCommand(own, process.platform === 'win32');
  const said = path
    ? await vscode.window.showWarningMessage(`pass-lsp.path: there is no program ${path}.`, 'Set its path')
    : await vscode.window.showWarningMessage(
        `pass-lsp is not installed. Run: ${command}`,
        'Install',
        'Set its path',
      );
  if (said === 'Set its path') {
    await vscode.commands.executeCommand('workbench.action.openSettings', 'pass-lsp.path');
  } else if (said === 'Install') {
    const shell = new vscode.ShellExecution(command);
    const task = new vscode.Task(
      { type: 'shell' },
      vscode.TaskScope.Workspace,
      'install pass-lsp',
      'pass-lsp',
      shell,
    );
    const running = await vscode.tasks.executeTask(task);
    const ended = vscode.tasks.onDidEndTaskProcess((event) => {
      if (event.execution === running) {
        ended.dispose();
        void vscode.commands.executeCommand('pass-lsp.restart');
      }
    });
  }
}

/** Remembers the last answer, so that taking a word or a line of it can be told to the server. */
class Offers implements Pick<Middleware, 'provideInlineCompletionItems'> {
  private last: { uri: string; offers: Offer<Item>[] } | undefined;

  provideInlineCompletionItems: NonNullable<Middleware['provideInlineCompletionItems']> = async (
    document,
    position,
    context,
    token,
    next,
  ) => {
    const answer = await next(document, position, context, token);
    const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
    const start = (item: Item) => document.offsetAt(item.range?.start ?? position);
    if (items.length > 0) {
      const plain = items.filter((item) => typeof item.insertText === 'string');
      const offers = plain.map((item) => ({ item, text: item.insertText as string, start: start(item) }));
      this.last = { uri: document.uri.toString(), offers };
    }
    return answer;
  };

  /** Run VS Code's own command, and report what it put in. */
  async accept(server: Server, command: string): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    const before = editor?.document.offsetAt(editor.selection.active) ?? 0;
    const last = this.last;
    await vscode.commands.executeCommand(command);
    if (editor === undefined || last?.uri !== editor.document.uri.toString()) {
      return;
    }
    const after = editor.document.offsetAt(editor.selection.active);
    const part = taken(last.offers, editor.document.getText(), before, after);
    if (part !== undefined && server.client?.isRunning()) {
      const { insertText, command: reported } = part.item;
      const item = { insertText, command: reported };
      const told = { item, acceptedLength: part.acceptedLength };
      await server.client.sendNotification('textDocument/didPartiallyAcceptCompletion', told);
    }
  }
}
