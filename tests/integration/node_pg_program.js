// Goes through npm's pg on one connection string that leads to two databases. Prints "ok NAME" or "failed NAME: why".
"use strict";
const assert = require("node:assert");
const { Client, Pool } = require("pg");

const checks = [];
const check = (name, run) => checks.push([name, run]);
const suffix = Math.random().toString(36).slice(2);
let client;

async function value(text, parameters) {
  const result = await client.query({ text, values: parameters, rowMode: "array" });
  return result.rows[0] && result.rows[0][0];
}

async function rejected(code, run) {
  await assert.rejects(run, (error) => { assert.strictEqual(error.code, code); return true; });
}

check("reads both databases", async () => {
  assert.strictEqual(await value("SELECT current_database() FROM projects LIMIT 1"), "app");
  assert.strictEqual(await value("SELECT current_database() FROM ci_builds LIMIT 1"), "app_ci");
});

check("takes parameters", async () => {
  assert.strictEqual(await value("SELECT name FROM projects WHERE id = $1", [1]), "Project 1");
  assert.strictEqual(await value("SELECT name FROM ci_builds WHERE id = $1", [1]), "job 1");
});

check("keeps named prepared statements", async () => {
  for (let n = 1; n <= 5; n++) {
    const main = await client.query({ name: "m", text: "SELECT id::int FROM projects WHERE id = $1", values: [n] });
    const ci = await client.query({ name: "c", text: "SELECT id::int FROM ci_builds WHERE id = $1", values: [n] });
    assert.deepStrictEqual([main.rows[0].id, ci.rows[0].id], [n, n]);
  }
});

check("runs a transaction that reads both and writes one", async () => {
  await client.query("BEGIN");
  await client.query("SELECT count(*) FROM ci_builds");
  await client.query("INSERT INTO issues (title) VALUES ($1)", [suffix]);
  await client.query("COMMIT");
  assert.strictEqual(await value("SELECT count(*)::int FROM issues WHERE title = $1", [suffix]), 1);
});

check("rolls back", async () => {
  await client.query("BEGIN");
  await client.query("INSERT INTO ci_runners (description) VALUES ($1)", [suffix]);
  await client.query("ROLLBACK");
  assert.strictEqual(await value("SELECT count(*)::int FROM ci_runners WHERE description = $1", [suffix]), 0);
});

check("is refused a cross join with position, detail and hint", async () => {
  const text = "SELECT 1 FROM projects, ci_builds";
  await assert.rejects(client.query(text), (error) => {
    assert.strictEqual(error.code, "XD001");
    assert.strictEqual(error.position, String(text.indexOf("ci_builds") + 1));
    assert.ok(error.detail && error.hint);
    assert.strictEqual(error.routine, "pginterlock_cross_join");
    return true;
  });
});

check("is refused a transaction over two databases", async () => {
  await client.query("BEGIN");
  await client.query("UPDATE projects SET star_count = star_count WHERE id = 1");
  await rejected("XD002", () => client.query("UPDATE ci_builds SET name = name WHERE id = $1", [1]));
  await rejected("25P02", () => client.query("SELECT 1"));
  await client.query("ROLLBACK");
});

check("answers queries in the order in which they were queued", async () => {
  const texts = [];
  for (let n = 0; n < 30; n++) texts.push(`SELECT ${n} AS n FROM ${n % 2 ? "projects" : "ci_builds"} WHERE id = 1`);
  const results = await Promise.all(texts.map((text) => client.query(text)));
  assert.deepStrictEqual(results.map((result) => result.rows[0].n), texts.map((_, n) => n));
});

check("gives several results of one text", async () => {
  const results = await client.query("SELECT 1 AS a; SELECT count(*) FROM ci_builds; SELECT count(*) FROM projects");
  assert.deepStrictEqual(results.map((result) => result.rows.length), [1, 1, 1]);
});

check("reads dates, json, bytes and arrays", async () => {
  const { rows } = await client.query(
    "SELECT created_at, '{\"a\":1}'::json AS j, '\\x00ff'::bytea AS b, ARRAY[1,2] AS r, NULL AS n FROM ci_builds WHERE id = 1");
  assert.ok(rows[0].created_at instanceof Date);
  assert.deepStrictEqual([rows[0].j, [...rows[0].b], rows[0].r, rows[0].n], [{ a: 1 }, [0, 255], [1, 2], null]);
});

check("hears notifications", async () => {
  const sender = new Client();
  await sender.connect();
  const heard = new Promise((resolve) => client.once("notification", resolve));
  await client.query("LISTEN news");
  await sender.query("NOTIFY news, 'hello'");
  assert.strictEqual((await heard).payload, "hello");
  await sender.end();
});

check("reads a large result", async () => {
  const { rows } = await client.query("SELECT n, repeat('x', 100) AS t FROM generate_series(1, 50000) n, ci_builds WHERE id = 1");
  assert.strictEqual(rows.length, 50000);
});

check("serves a pool of clients", async () => {
  const pool = new Pool({ max: 5 });
  const work = [];
  for (let n = 0; n < 50; n++) {
    work.push(pool.query(`SELECT id::int FROM ${n % 2 ? "projects" : "ci_builds"} WHERE id = $1`, [1 + n % 20]));
  }
  const results = await Promise.all(work);
  results.forEach((result, n) => assert.strictEqual(result.rows[0].id, 1 + n % 20));
  await pool.end();
});

check("cancels by statement_timeout", async () => {
  await client.query("SET statement_timeout = 50");
  await rejected("57014", () => client.query("SELECT pg_sleep(30) FROM ci_builds"));
  await client.query("RESET statement_timeout");
});

(async () => {
  client = new Client();
  await client.connect();
  for (const [name, run] of checks) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`failed ${name}: ${String(error.stack || error).split("\n").slice(0, 3).join(" | ")}`);
      await client.query("ROLLBACK").catch(() => {});
    }
  }
  await client.end();
})();
