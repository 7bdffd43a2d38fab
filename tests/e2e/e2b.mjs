// SPDX-License-Identifier: Apache-2.0
// Goal: what npm's e2b does with a sandbox, it does with one of Volt's. Method: each call of its surface
// once, in the order of docs/e2b.md; a line for each: "ok NAME" or "not ok NAME: WHY".
// usage: node e2b.mjs FOLDER-WITH-NODE_MODULES (E2B_API_URL, E2B_SANDBOX_URL, E2B_API_KEY)
import assert from "node:assert";
import { createRequire } from "node:module";

const { Sandbox } = createRequire(`${process.argv[2]}/`)("e2b");
const text = (bytes) => Buffer.from(bytes).toString();
const rejects = (promise, name, words) =>
    promise.then(() => assert.fail("it did not fail"), (error) => {
        assert.equal(error.name, name);
        assert.match(error.message, words);
    });
const until = async (condition) => {
    for (let i = 0; i < 6000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(condition());
};
const slow = { requestTimeoutMs: 900000, timeoutMs: 900000 };
let sandbox, other, command, shell, shown = "";

const calls = {
    "Sandbox.create": async () => {
        sandbox = await Sandbox.create({ metadata: { "a b": "c&d=e", user: "me" }, envs: { FOO: "foo" }, ...slow });
        assert.match(sandbox.sandboxId, /^[0-9a-f]+$/);
    },
    "Sandbox.create, of no template": () => rejects(Sandbox.create("nothing"), "SandboxError", /404.*nothing/),
    "Sandbox.list": async () => {
        const page = Sandbox.list({ query: { metadata: { "a b": "c&d=e" }, state: ["running"] } });
        assert.deepEqual((await page.nextItems()).map((one) => one.sandboxId), [sandbox.sandboxId]);
        assert.equal(page.hasNext, false);
        assert.deepEqual(await Sandbox.list({ query: { metadata: { user: "you" } } }).nextItems(), []);
    },
    "getInfo": async () => {
        const info = await sandbox.getInfo();
        assert.deepEqual([info.templateId, info.state, info.metadata.user], ["base", "running", "me"]);
        assert.ok(info.memoryMB > 0 && info.cpuCount > 0 && info.endAt > info.startedAt);
    },
    "setTimeout": async () => {
        await sandbox.setTimeout(900000);
        const left = (await sandbox.getInfo()).endAt - Date.now();
        assert.ok(left > 600000 && left <= 900000, `${left} ms are left`);
    },
    "isRunning": async () => assert.equal(await sandbox.isRunning(), true),
    "getMetrics": async () => assert.deepEqual(await sandbox.getMetrics(), []),
    "commands.run": async () => {
        const result = await sandbox.commands.run("echo $FOO $BAR; echo oops >&2; pwd", { envs: { BAR: "bar" }, cwd: "/tmp", ...slow });
        assert.deepEqual([result.exitCode, result.stdout, result.stderr], [0, "foo bar\n/tmp\n", "oops\n"]);
    },
    "commands.run, that fails": async () => {
        const error = await sandbox.commands.run("exit 3", slow).catch((e) => e);
        assert.deepEqual([error.name, error.exitCode], ["CommandExitError", 3]);
    },
    "commands.run, by user": async () =>
        assert.equal((await sandbox.commands.run("id -u", { user: "root", ...slow })).stdout, "0\n"),
    "commands.run, that takes too long": () =>
        rejects(sandbox.commands.run("sleep 1000", { timeoutMs: 1500 }), "TimeoutError", /deadline_exceeded/),
    "commands.run, 1 MiB of output": async () => {
        const { stdout } = await sandbox.commands.run("head -c 1048576 /dev/zero | tr '\\0' x", slow);
        assert.equal(stdout.length, 1048576);
    },
    "commands.run, in the background": async () => {
        command = await sandbox.commands.run("echo began; cat; echo done", { background: true, stdin: true, ...slow });
        await until(() => command.stdout === "began\n");
    },
    "commands.list": async () => {
        const [one] = (await sandbox.commands.list()).filter(({ pid }) => pid === command.pid);
        assert.deepEqual([one.cmd, one.args.at(-1)], ["/bin/bash", "echo began; cat; echo done"]);
    },
    "commands.connect, disconnect": async () => {
        await command.disconnect();
        command = await sandbox.commands.connect(command.pid, slow);
        await until(() => command.stdout === "began\n");
    },
    "commands.sendStdin": async () => {
        await sandbox.commands.sendStdin(command.pid, "line\n", slow);
        await until(() => command.stdout === "began\nline\n");
    },
    "commands.closeStdin": async () => {
        await sandbox.commands.closeStdin(command.pid, slow);
        assert.equal((await command.wait()).stdout, "began\nline\ndone\n");
    },
    "commands.kill": async () => {
        command = await sandbox.commands.run("sleep 1000", { background: true, ...slow });
        assert.equal(await sandbox.commands.kill(command.pid, slow), true);
        await rejects(command.wait(), "CommandExitError", /signal: Killed/);
        assert.equal(await sandbox.commands.kill(command.pid, slow), false);
    },
    "files.write": async () => {
        const written = await sandbox.files.write("/tmp/made/a.txt", "some text", slow);
        assert.deepEqual([written.name, written.path], ["a.txt", "/tmp/made/a.txt"]);
        for (const data of ["", "x"]) {
            assert.equal((await sandbox.files.write("/tmp/small", data, slow)).path, "/tmp/small");
            assert.equal(await sandbox.files.read("/tmp/small", slow), data);
        }
    },
    "files.write, several": async () => {
        const files = ["b", "c"].map((name) => ({ path: `/tmp/made/${name}`, data: name.repeat(100000) }));
        assert.deepEqual((await sandbox.files.write(files, slow)).map(({ path }) => path), ["/tmp/made/b", "/tmp/made/c"]);
    },
    "files.write, a stream": async () => {
        const data = new Blob([new Uint8Array(3000000).fill(7)]).stream();
        await sandbox.files.write("/tmp/made/d", data, { useOctetStream: true, ...slow });
    },
    "files.read": async () => {
        assert.equal(await sandbox.files.read("/tmp/made/a.txt", slow), "some text");
        const bytes = await sandbox.files.read("/tmp/made/d", { format: "bytes", ...slow });
        assert.ok(bytes.length === 3000000 && bytes.every((byte) => byte === 7));
        await rejects(sandbox.files.read("/tmp/no/such", slow), "FileNotFoundError", /No such file/);
    },
    "files.list": async () =>
        assert.deepEqual((await sandbox.files.list("/tmp/made", slow)).map(({ name, type, size }) => `${name} ${type} ${size}`),
            ["a.txt file 9", "b file 100000", "c file 100000", "d file 3000000"]),
    "files.getInfo": async () => {
        const info = await sandbox.files.getInfo("/tmp/made/a.txt", slow);
        assert.deepEqual([info.type, info.size, info.permissions, info.owner], ["file", 9, "-rw-r--r--", "root"]);
        assert.ok(Math.abs(info.modifiedTime - Date.now()) < 600000);
    },
    "files.exists": async () => {
        assert.equal(await sandbox.files.exists("/tmp/made", slow), true);
        assert.equal(await sandbox.files.exists("/tmp/not-made", slow), false);
    },
    "files.makeDir": async () => {
        assert.equal(await sandbox.files.makeDir("/tmp/made/one/two", slow), true);
        assert.equal(await sandbox.files.makeDir("/tmp/made/one", slow), false);
    },
    "files.rename": async () =>
        assert.equal((await sandbox.files.rename("/tmp/made/b", "/tmp/made/one/b", slow)).path, "/tmp/made/one/b"),
    "files.remove": async () => {
        await sandbox.files.remove("/tmp/made/one", slow);
        assert.equal(await sandbox.files.exists("/tmp/made/one", slow), false);
    },
    "files.watchDir": async () => {
        const events = [];
        const watch = await sandbox.files.watchDir("/tmp/made", (event) => events.push(`${event.type} ${event.name}`), slow);
        await sandbox.files.write("/tmp/made/e", "e", slow);
        await until(() => events.includes("create e") && events.includes("write e"));
        await watch.stop();
    },
    "downloadUrl, uploadUrl": async () => {
        const form = new FormData();
        form.append("file", new Blob(["sent"]), "ignored");
        const sent = await fetch(await sandbox.uploadUrl("/tmp/made/f"), { method: "POST", body: form });
        assert.equal(sent.status, 200);
        const url = await sandbox.downloadUrl("/tmp/made/f", { useSignatureExpiration: 600 });
        assert.equal(await (await fetch(url)).text(), "sent");
        assert.equal((await fetch(url.replace("made%2Ff", "made%2Fa.txt"))).status, 502);
    },
    "pty.create": async () => {
        shell = await sandbox.pty.create({ cols: 80, rows: 24, onData: (data) => (shown += text(data)), ...slow });
    },
    "pty.sendInput": async () => {
        await sandbox.pty.sendInput(shell.pid, Buffer.from("tty && stty size\n"), slow);
        await until(() => /\/dev\/pts\/\d+\r\n24 80/.test(shown));
    },
    "pty.resize": async () => {
        await sandbox.pty.resize(shell.pid, { cols: 132, rows: 50 }, slow);
        await sandbox.pty.sendInput(shell.pid, Buffer.from("stty size\n"), slow);
        await until(() => shown.includes("50 132"));
    },
    "pty.kill": async () => assert.equal(await sandbox.pty.kill(shell.pid, slow), true),
    "Sandbox.connect": async () => {
        other = await Sandbox.connect(sandbox.sandboxId);
        assert.equal(await other.files.read("/tmp/made/a.txt", slow), "some text");
    },
    "pause": () => rejects(sandbox.pause(), "SandboxError", /501/),
    "kill": async () => {
        assert.equal(await sandbox.kill(), true);
        assert.equal(await sandbox.kill(), false);
        assert.equal(await other.isRunning(), false);
        await rejects(sandbox.getInfo(), "SandboxNotFoundError", /not found/);
    },
};

for (const [name, call] of Object.entries(calls)) {
    try {
        await call();
        console.log(`ok ${name}`);
    } catch (error) {
        console.log(`not ok ${name}: ${String(error?.stack ?? error).replaceAll("\n", " | ")}`);
    }
}
process.exit(0);
