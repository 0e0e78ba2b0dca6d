/** The language client: one server, started, restarted and told of settings, never two at a time. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import * as vscode from 'vscode';
import {
  type Middleware,
  LanguageClient,
  type LanguageClientOptions,
  RevealOutputChannelOn,
} from 'vscode-languageclient/node';
import { findServer } from './find';
import { activePythons } from './python';
import { chosen, type Inspected, OF_THE_ENGINE, update } from './settings';
import type { Status } from './status';

export const SECTION = 'pass-lsp';

export class Server implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel('pass-lsp', { log: true });
  client: LanguageClient | undefined;
  program: string | undefined;
  /** What the user has set, as the server was told. */
  settings: Record<string, unknown> = {};
  private path = '';
  private queue: Promise<void> = Promise.resolve();

  /** `keys`: the settings that the extension declares, without the section. */
  constructor(
    private readonly keys: string[],
    private readonly middleware: Middleware,
    private readonly heard: (status: Status | undefined) => void,
    private readonly missing: (path: string, pythons: string[]) => void,
  ) {}

  /** End what runs, and start anew. Calls wait for each other. */
  restart(): Promise<void> {
    this.queue = this.queue.then(async () => {
      await this.stop();
      await this.start();
    });
    return this.queue;
  }

  /** Take in changed settings: most at once, those of the engine with a new server. What has no effect is no change. */
  async reconfigure(event: vscode.ConfigurationChangeEvent): Promise<void> {
    if (!event.affectsConfiguration(SECTION)) {
      return;
    }
    await this.queue; // a server that is just starting is told afterwards
    const now = chosen(this.keys, inspect);
    if (path() !== this.path || OF_THE_ENGINE.some((key) => now[key] !== this.settings[key])) {
      await this.restart();
    } else if (this.client?.isRunning() && !isDeepStrictEqual(now, this.settings)) {
      const settings = { [SECTION]: update(this.settings, now, inspect) };
      this.settings = now;
      await this.client.sendNotification('workspace/didChangeConfiguration', { settings });
    }
  }

  dispose(): void {
    void this.stop().finally(() => {
      this.log.dispose();
    });
  }

  private async start(): Promise<void> {
    const pythons = await activePythons();
    this.path = path();
    this.program = findServer({
      setting: this.path,
      pythons,
      searchPath: process.env.PATH ?? '',
      windows: process.platform === 'win32',
      home: homedir(),
      exists: existsSync,
    });
    if (this.program === undefined) {
      this.missing(this.path, pythons);
      return;
    }
    this.log.info(`Starting ${this.program}`);
    const command = { command: this.program, args: ['serve', '--stdio'] };
    const client = new LanguageClient(SECTION, 'pass-lsp', command, this.options());
    client.onNotification('didChangeStatus', this.heard);
    this.client = client;
    try {
      await client.start();
    } catch (error) {
      this.log.error(`The server could not be started: ${String(error)}`);
    }
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.heard(undefined);
    await client?.dispose().catch((error: unknown) => {
      this.log.warn(`The server did not end as it should: ${String(error)}`);
    });
  }

  private options(): LanguageClientOptions {
    this.settings = chosen(this.keys, inspect);
    return {
      documentSelector: ['file', 'untitled', 'vscode-notebook-cell'].map((scheme) => ({ scheme })),
      initializationOptions: { [SECTION]: this.settings },
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      middleware: this.middleware,
    };
  }
}

function path(): string {
  return vscode.workspace.getConfiguration(SECTION).get('path', '');
}

function inspect(key: string): Inspected | undefined {
  return vscode.workspace.getConfiguration(SECTION).inspect(key);
}
