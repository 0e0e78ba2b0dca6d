/** From VS Code's settings to the server's. Only what the user has set is sent, so that files come into their own. */

/** What `WorkspaceConfiguration.inspect` says of one key. */
export interface Inspected {
  defaultValue?: unknown;
  globalValue?: unknown;
  workspaceValue?: unknown;
  workspaceFolderValue?: unknown;
}

/** Settings of this extension; the server does not know them. */
export const OF_THE_CLIENT = new Set(['path', 'trace.server']);

/** Settings that choose what runs: the server takes them at its start. */
export const OF_THE_ENGINE = [
  'model',
  'device',
  'dtype',
  'lookahead',
  'trust_remote_code',
  'engine',
  'engine_kind',
  'engine_template',
] as const;

/** The server's settings as far as the user has set them. */
export function chosen(
  keys: string[],
  inspect: (key: string) => Inspected | undefined,
): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const key of keys.filter((each) => !OF_THE_CLIENT.has(each))) {
    const at = inspect(key);
    const value = at?.workspaceFolderValue ?? at?.workspaceValue ?? at?.globalValue;
    if (value !== undefined) {
      found[key] = value;
    }
  }
  return found;
}

/** What to tell a running server: what is chosen now, and defaults for what was chosen before and is no more. */
export function update(
  before: Record<string, unknown>,
  now: Record<string, unknown>,
  inspect: (key: string) => Inspected | undefined,
): Record<string, unknown> {
  const dropped = Object.keys(before).filter((key) => !(key in now));
  return { ...Object.fromEntries(dropped.map((key) => [key, inspect(key)?.defaultValue])), ...now };
}

/**
 * The settings of the engine as options of `pass-lsp doctor`, which has one for each. What is set to nothing is an
 * option too: it stands over what a file says.
 */
export function asOptions(settings: Record<string, unknown>): string[] {
  return OF_THE_ENGINE.filter((key) => settings[key] !== undefined).flatMap((key) => {
    const value = settings[key];
    const name = key.replaceAll('_', '-');
    return typeof value === 'boolean' ? [`--${value ? '' : 'no-'}${name}`] : [`--${name}`, String(value)];
  });
}
