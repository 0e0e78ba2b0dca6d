/** What `pass-lsp doctor` and `pass-lsp stats` print, as pages that cannot be edited and need not be saved. */
import { execFile } from 'node:child_process';
import * as vscode from 'vscode';
import type { Server } from './server';
import { asOptions } from './settings';

export class Reports implements vscode.TextDocumentContentProvider {
  private readonly stale = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.stale.event;

  constructor(private readonly server: Server) {}

  /** Show what the program says now, beside the editor. */
  async show(name: 'doctor' | 'stats'): Promise<void> {
    if (this.server.program === undefined) {
      await this.server.restart(); // which offers to install it
      return;
    }
    const page = vscode.Uri.from({ scheme: 'pass-lsp', path: name });
    this.stale.fire(page);
    const there = vscode.window.visibleTextEditors.find((each) => each.document.uri.scheme === page.scheme);
    const viewColumn = there?.viewColumn ?? vscode.ViewColumn.Beside;
    await vscode.window.showTextDocument(page, { preview: true, viewColumn });
  }

  provideTextDocumentContent(page: vscode.Uri): Thenable<string> {
    const name = page.path;
    const options = name === 'doctor' ? asOptions(this.server.settings) : [];
    const progress = { location: vscode.ProgressLocation.Window, title: `pass-lsp ${name}` };
    const program = this.server.program ?? 'pass-lsp';
    return vscode.window.withProgress(progress, () => output(program, [name, ...options]));
  }
}

/** Everything that the program prints; its failures are explained there too. */
function output(program: string, args: string[]): Promise<string> {
  return new Promise((resolve) => {
    // On Windows, what goes into a pipe is of the system's code page otherwise, which lacks half of what is said.
    const env = { ...process.env, NO_COLOR: '1', COLUMNS: '110', PYTHONIOENCODING: 'utf-8' };
    execFile(program, args, { env, timeout: 300_000 }, (error, stdout, stderr) => {
      resolve(stdout + stderr || (error?.message ?? ''));
    });
  });
}
