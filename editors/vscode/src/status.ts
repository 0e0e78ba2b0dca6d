/** The server's status as a user sees it. Knows nothing of VS Code. */

/** What `didChangeStatus` brings. */
export interface Status {
  busy: boolean;
  kind: 'Normal' | 'Warning' | 'Error' | 'Inactive';
  message: string;
  /** Why the last answer was empty, as a code; "" if it was not. */
  reason?: string;
}

/** What the client says for a server that cannot speak. */
export const STARTING: Status = { busy: true, kind: 'Normal', message: 'The server is starting.' };
export const ENDED: Status = {
  busy: false,
  kind: 'Error',
  message: 'The server has ended. Click to restart it, or to see the log.',
};

export interface Shown {
  text: string;
  tooltip: string;
  severity: 'none' | 'warning' | 'error';
}

const ICONS = { Normal: 'sparkle', Warning: 'warning', Error: 'error', Inactive: 'circle-slash' };

/**
 * The status bar for what the server said last; undefined while there is no server. `silent`: the language of
 * the active editor, if suggestions are off for it.
 */
export function render(status: Status | undefined, silent?: string): Shown {
  if (status === undefined) {
    return {
      text: '$(circle-slash) pass-lsp',
      tooltip: 'pass-lsp is not running. Click to start it, or to see the log.',
      severity: 'none',
    };
  }
  if (silent !== undefined && status.kind === 'Normal' && !status.busy) {
    return {
      text: '$(circle-slash) pass-lsp',
      tooltip: `pass-lsp: Suggestions are off for ${silent}.`,
      severity: 'none',
    };
  }
  const icon = status.busy ? 'loading~spin' : ICONS[status.kind];
  const severity = status.kind === 'Error' ? 'error' : status.kind === 'Warning' ? 'warning' : 'none';
  const reason = status.reason ? `\n\nReason code: ${status.reason}` : '';
  return { text: `$(${icon}) pass-lsp`, tooltip: `pass-lsp: ${status.message}${reason}`, severity };
}
