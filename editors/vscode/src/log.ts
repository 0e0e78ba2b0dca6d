/** The server's log, as it comes on its stderr. Knows nothing of VS Code. */

const LEVELS: Record<string, 'debug' | 'info' | 'warn'> = { DEBUG: 'debug', INFO: 'info', WARNING: 'warn' };

/** The level of a line, which stands behind the time; what has none, such as a traceback, is an error. */
export function levelOf(line: string): 'debug' | 'info' | 'warn' | 'error' {
  const level = /^[\d-]+ [\d:,]+ ([A-Z]+) /.exec(line)?.[1];
  return LEVELS[level ?? ''] ?? 'error';
}
