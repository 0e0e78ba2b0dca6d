import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { taken } from '../src/accepts';
import { findServer, installCommand, isManaged, isProgram, pythonsIn, type Surroundings } from '../src/find';
import { levelOf } from '../src/log';
import { asOptions, chosen, type Inspected, update } from '../src/settings';
import { ENDED, render, STARTING, type Status } from '../src/status';

const around = (files: string[], more: Partial<Surroundings> = {}): Surroundings => ({
  setting: '',
  pythons: [],
  searchPath: '/usr/bin:bin:/opt/bin',
  windows: false,
  home: '/home/me',
  exists: (file) => files.includes(file),
  ...more,
});

test('the setting wins, even over a program elsewhere', () => {
  const files = ['/usr/bin/pass-lsp', '/home/me/own/pass-lsp'];
  assert.equal(findServer(around(files, { setting: '~/own/pass-lsp' })), '/home/me/own/pass-lsp');
  assert.equal(findServer(around(files, { setting: '/nowhere/pass-lsp' })), undefined);
});

test('then the active environment, then the PATH, then where pipx puts it', () => {
  const pythons = ['/project/.venv/bin/python'];
  const files = ['/project/.venv/bin/pass-lsp', '/opt/bin/pass-lsp', '/home/me/.local/bin/pass-lsp'];
  assert.equal(findServer(around(files, { pythons })), '/project/.venv/bin/pass-lsp');
  assert.equal(findServer(around(files)), '/opt/bin/pass-lsp');
  assert.equal(findServer(around(files.slice(2))), '/home/me/.local/bin/pass-lsp');
  assert.equal(findServer(around([])), undefined);
});

test('a relative folder of the PATH is not searched: a workspace could put its own program there', () => {
  assert.equal(findServer(around(['bin/pass-lsp'])), undefined);
});

test(
  'a folder of that name, such as a checkout, is no program',
  { skip: process.platform === 'win32' },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'pass-lsp-'));
    const file = join(folder, 'pass-lsp');
    writeFileSync(file, '');
    assert.deepEqual(
      [folder, file, join(file, 'beyond'), join(folder, 'nothing')].map(isProgram),
      Array(4).fill(false),
    );
    chmodSync(file, 0o755);
    assert.ok(isProgram(file));
  },
);

test('on Windows the program has its own name and the PATH its own separator', () => {
  const windows = { windows: true, searchPath: 'C:\\a;C:\\b', home: 'C:\\me' };
  assert.equal(findServer(around(['C:\\b\\pass-lsp.exe'], windows)), 'C:\\b\\pass-lsp.exe');
});

test('on Windows the programs of conda and of a Python without an environment are in Scripts beside it', () => {
  const windows = { windows: true, searchPath: '', home: 'C:\\me' };
  const found = (file: string, python: string) =>
    findServer(around([file], { ...windows, pythons: [python] }));
  assert.equal(
    found('C:\\conda\\Scripts\\pass-lsp.exe', 'C:\\conda\\python.exe'),
    'C:\\conda\\Scripts\\pass-lsp.exe',
  );
  assert.equal(
    found('C:\\v\\Scripts\\pass-lsp.exe', 'C:\\v\\Scripts\\python.exe'),
    'C:\\v\\Scripts\\pass-lsp.exe',
  );
  assert.equal(findServer(around(['/v/bin/Scripts/pass-lsp'], { pythons: ['/v/bin/python'] })), undefined);
});

test('the Python of an environment is in its folder of programs, or on Windows in its root', () => {
  assert.deepEqual(pythonsIn('/v', false), ['/v/bin/python']);
  assert.deepEqual(pythonsIn('C:\\v', true), ['C:\\v\\Scripts\\python.exe', 'C:\\v\\python.exe']);
});

test('one command installs it', () => {
  assert.equal(installCommand([], false), 'pipx install pass-lsp');
  assert.equal(installCommand(['/v/bin/python'], false), '/v/bin/python -m pip install pass-lsp');
  assert.equal(
    installCommand(['C:\\my env\\python.exe'], true),
    '& "C:\\my env\\python.exe" -m pip install pass-lsp',
  );
});

test(
  'not into a Python that the system looks after, but into an environment made of it',
  { skip: process.platform === 'win32' },
  () => {
    const root = mkdtempSync(join(tmpdir(), 'pass-lsp-'));
    for (const folder of ['usr/bin', 'usr/lib/python3.12', 'venv/bin', 'usr/lib/python3']) {
      mkdirSync(join(root, folder), { recursive: true });
    }
    const real = join(root, 'usr/bin/python3.12');
    const pythons = [
      real,
      join(root, 'usr/bin/python3'),
      join(root, 'venv/bin/python'),
      join(root, 'nothing'),
    ];
    writeFileSync(real, '');
    symlinkSync('python3.12', join(root, 'usr/bin/python3'));
    symlinkSync(real, join(root, 'venv/bin/python'));
    writeFileSync(join(root, 'venv/pyvenv.cfg'), '');
    assert.deepEqual(pythons.map(isManaged), [false, false, false, false]);
    writeFileSync(join(root, 'usr/lib/python3.12/EXTERNALLY-MANAGED'), '');
    assert.deepEqual(pythons.map(isManaged), [true, true, false, false]);
  },
);

const inspecting = (values: Record<string, Inspected>) => (key: string) => values[key];

test('only what is set is sent, the most specific value of it, and nothing of the client', () => {
  const values = {
    enabled: { defaultValue: true },
    prompt_tokens: { defaultValue: 2048, globalValue: 512, workspaceValue: 1024 },
    path: { globalValue: '/x' },
    'trace.server': { globalValue: 'verbose' },
  };
  assert.deepEqual(chosen(Object.keys(values), inspecting(values)), { prompt_tokens: 1024 });
});

test('a setting that is taken back goes back to its default', () => {
  const values = { enabled: { defaultValue: true }, prompt_tokens: { defaultValue: 2048, globalValue: 64 } };
  const told = update({ enabled: false, prompt_tokens: 64 }, { prompt_tokens: 64 }, inspecting(values));
  assert.deepEqual(told, { enabled: true, prompt_tokens: 64 });
});

test('the doctor examines the engine that is set', () => {
  const set = {
    engine: 'http://box:8000',
    engine_kind: 'vllm',
    trust_remote_code: true,
    enabled: false,
  };
  const options = ['--trust-remote-code', '--engine', 'http://box:8000', '--engine-kind', 'vllm'];
  assert.deepEqual(asOptions(set), options);
});

test('what is set to nothing stands over a file for the doctor, as it does for the server', () => {
  const set = { engine: '', trust_remote_code: false };
  assert.deepEqual(asOptions(set), ['--no-trust-remote-code', '--engine', '']);
});

test('a line of the log has the level that the server gave it', () => {
  const line = (level: string) => levelOf(`2026-11-30 00:30:14,123 ${level} pass_lsp.server: INFO WARNING`);
  assert.deepEqual(['DEBUG', 'INFO', 'WARNING', 'ERROR'].map(line), ['debug', 'info', 'warn', 'error']);
  assert.equal(levelOf('Traceback (most recent call last):'), 'error');
});

test('the status bar says the state and the reason', () => {
  assert.match(render(undefined).tooltip, /not running\. Click/);
  assert.match(render({ busy: true, kind: 'Normal', message: 'Loading.' }).text, /spin/);
  const empty = render({
    busy: false,
    kind: 'Normal',
    message: 'No suggestion. Nothing was decoded before the deadline.',
    reason: 'deadline',
  });
  assert.match(empty.tooltip, /before the deadline\.\n\nReason code: deadline/);
  const ready: Status = { busy: false, kind: 'Normal', message: 'Ready.' };
  assert.match(render(ready, 'python').tooltip, /off for python/);
  assert.equal(render({ ...ready, kind: 'Error' }, 'python').severity, 'error');
  assert.equal(render({ busy: false, kind: 'Error', message: 'x' }).severity, 'error');
  assert.equal(render({ busy: false, kind: 'Warning', message: 'x' }).severity, 'warning');
  assert.match(render({ busy: false, kind: 'Inactive', message: 'off' }).text, /slash/);
});

test('the status bar says what to do about a server that has ended', () => {
  assert.equal(render(ENDED, 'python').severity, 'error');
  assert.match(render(ENDED).tooltip, /restart.*log/);
  assert.match(render(STARTING).text, /spin/);
});

test('a part that was taken is found with its length from the start of the suggestion', () => {
  const offers = [{ item: 'first', text: '  return a + b\n  done', start: 10 }];
  const text = 'def f(a):\n  return';
  assert.deepEqual(taken(offers, text, 12, 18), { item: 'first', acceptedLength: 8 });
});

test('text that is not the suggestion, or nothing, is no accept', () => {
  const offers = [{ item: 'first', text: 'return', start: 0 }];
  assert.equal(taken(offers, 'raise', 0, 5), undefined);
  assert.equal(taken(offers, 'ret', 3, 3), undefined);
  assert.equal(taken([], 'ret', 0, 3), undefined);
});
