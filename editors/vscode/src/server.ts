/** The language client: one server, started, restarted and told of settings, never two at a time. */
import { homedir } from 'node:os';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import * as vscode from 'vscode';
import {
  type Middleware,
  LanguageClient,
  type LanguageClientOptions,
  RevealOutputChannelOn,
  State,
  type StateChangeEvent,
} from 'vscode-languageclient/node';
import { findServer, isProgram } from './find';
import { Pythons } from './python';
import { levelOf } from './log';
import { chosen, type Inspected, OF_THE_ENGINE, update } from './settings';
import { ENDED, STARTING, type Status } from './status';

export const SECTION = 'pass-lsp';
/** How long a server that is asked to end is given to come up first. */
const START_MS = 10_000;

class Client extends LanguageClient {
  /** Whether errors are for the log alone: the user was told that there is no server, or has given it up. */
  quiet = false;

  override error(message: string, data?: unknown, showNotification?: boolean | 'force'): void {
    const quiet = this.quiet || this.state === State.Starting || this.state === State.StartFailed;
    super.error(message, data, quiet ? false : showNotification);
  }

  /** Tell that the server does not come up: once, as four more attempts may follow, each with several errors. */
  failed(program: string): void {
    if (!this.quiet) {
      const remedy = 'the log says why. If it is broken, as after an update of Python, install it anew.';
      super.error(`${program} cannot be started; ${remedy}`, undefined, 'force');
    }
    this.quiet = true;
  }
}

export class Server {
  readonly log = vscode.window.createOutputChannel('pass-lsp', { log: true });
  client: Client | undefined;
  program: string | undefined;
  /** What the user has set, as the server was told. */
  settings: Record<string, unknown> = {};
  /** Where it may be installed. */
  readonly pythons = new Pythons(() => void this.lookAgain());
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

  /** Start the program of the Python that is active now, if it is another. None at all is no reason to end this one. */
  lookAgain(): Promise<void> {
    this.queue = this.queue.then(async () => {
      const { program } = await this.find();
      if (program !== undefined && program !== this.program) {
        await this.stop();
        await this.start();
      }
    });
    return this.queue;
  }

  async reconfigure(event: vscode.ConfigurationChangeEvent): Promise<void> {
    if (event.affectsConfiguration(SECTION)) {
      await this.catchUp();
    }
  }

  /** Take in changed settings: most at once, those of the engine with a new server. What has no effect is no change. */
  private async catchUp(): Promise<void> {
    await this.queue;
    const now = chosen(this.keys, inspect);
    if (path() !== this.path || OF_THE_ENGINE.some((key) => now[key] !== this.settings[key])) {
      await this.restart();
    } else if (this.client?.isRunning() && !isDeepStrictEqual(now, this.settings)) {
      const settings = { [SECTION]: update(this.settings, now, inspect) };
      this.settings = now;
      await this.client.sendNotification('workspace/didChangeConfiguration', { settings });
    }
  }

  /** End what runs, once and for all. */
  end(): Promise<void> {
    this.queue = this.queue.then(() => this.stop());
    return this.queue;
  }

  private async find() {
    const pythons = await this.pythons.active();
    const setting = path();
    const program = findServer({
      setting,
      pythons,
      searchPath: process.env.PATH ?? '',
      windows: process.platform === 'win32',
      home: homedir(),
      exists: isProgram,
    });
    return { pythons, setting, program };
  }

  private async start(): Promise<void> {
    const { pythons, setting, program } = await this.find();
    this.path = setting;
    this.program = program;
    if (program === undefined) {
      this.missing(setting, pythons);
      return;
    }
    this.log.info(`Starting ${program}`);
    const command = { command: program, args: ['serve', '--stdio'] };
    const initializationFailedHandler = () => {
      client.failed(program);
      return false;
    };
    const options = { ...this.options(), initializationFailedHandler };
    const client = new Client(SECTION, 'pass-lsp', command, options);
    client.onNotification('didChangeStatus', (status: Status) => {
      if (client === this.client) {
        this.heard(status);
      }
    });
    client.onDidChangeState((event) => {
      if (client === this.client) {
        this.changed(client, event);
      }
    });
    this.client = client;
    this.settings = chosen(this.keys, inspect);
    // Not waited for: what never answers must not keep a restart from coming.
    client.start().catch((error: unknown) => {
      this.log.error(`The server could not be started: ${String(error)}`);
      client.failed(program);
    });
  }

  /** The client starts a server that has died by itself, but not for ever. */
  private changed(client: Client, { newState }: StateChangeEvent): void {
    if (newState === State.Running) {
      client.quiet = false;
      // What was changed while it was starting.
      void this.catchUp().catch((error: unknown) => {
        this.log.warn(`The server was not told of the settings: ${String(error)}`);
      });
    } else {
      this.heard(newState === State.Starting ? STARTING : ENDED);
    }
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.heard(undefined);
    if (client === undefined) {
      return;
    }
    client.quiet = true;
    if (client.state === State.Starting) {
      // As after a crash: it cannot be stopped yet.
      const up = client.start().catch(() => undefined);
      await Promise.race([up, new Promise((resolve) => setTimeout(resolve, START_MS))]);
    }
    await client.dispose().catch((error: unknown) => {
      this.log.warn(`The server did not end as it should: ${String(error)}`);
    });
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: ['file', 'untitled', 'vscode-notebook-cell'].map((scheme) => ({ scheme })),
      // Asked for at every start, also when the client starts a server that has died.
      initializationOptions: () => ({ [SECTION]: (this.settings = chosen(this.keys, inspect)) }),
      outputChannel: this.log,
      stdioOptions: { stdout: writeDown, stderr: writeDown }, // stdout is the wire: nothing of it comes here
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      middleware: this.middleware,
    };
  }
}

function writeDown(stderr: NodeJS.ReadableStream, log: vscode.LogOutputChannel): void {
  createInterface({ input: stderr }).on('line', (line) => {
    log[levelOf(line)](line);
  });
}

function path(): string {
  return vscode.workspace.getConfiguration(SECTION).get('path', '');
}

function inspect(key: string): Inspected | undefined {
  return vscode.workspace.getConfiguration(SECTION).inspect(key);
}
