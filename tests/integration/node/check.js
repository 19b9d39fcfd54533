// What a Node program does with ClickHouse, by the official client. Prints one JSON line; exits 1 at the first fault.
const assert = require("node:assert/strict");
const { Readable } = require("node:stream");
const { createClient, ClickHouseError } = require("@clickhouse/client");

const checks = {
  async ping(client) {
    assert.equal((await client.ping()).success, true);
  },
  async query_with_parameters(client) {
    const result = await client.query({
      query: "SELECT {n: UInt32} AS n, {s: String} AS s, {a: Array(String)} AS a",
      query_params: { n: 7, s: "it's \\ a\ttab\n☃", a: ["x'", "y"] },
      format: "JSONEachRow",
    });
    assert.deepEqual(await result.json(), [{ n: 7, s: "it's \\ a\ttab\n☃", a: ["x'", "y"] }]);
    assert.ok(result.query_id);
  },
  async formats(client) {
    const query = "SELECT number AS n FROM numbers(3)";
    const json = await (await client.query({ query, format: "JSON" })).json();
    assert.equal(json.rows, 3);
    const csv = await (await client.query({ query, format: "CSVWithNames" })).text();
    assert.equal(csv, '"n"\n0\n1\n2\n');
  },
  async insert_rows_and_stream(client) {
    await client.command({ query: "CREATE TABLE node_rows (id UInt64, s String) ENGINE = MergeTree ORDER BY id" });
    const values = Array.from({ length: 1000 }, (_, id) => ({ id, s: `row ${id}` }));
    const inserted = await client.insert({ table: "node_rows", values, format: "JSONEachRow" });
    assert.equal(inserted.summary.written_rows, "1000");
    const stream = Readable.from((function* () { for (let id = 1000; id < 50000; id++) yield { id, s: "streamed" }; })());
    await client.insert({ table: "node_rows", values: stream, format: "JSONEachRow" });
    const count = await client.query({ query: "SELECT count() AS c, uniqExact(id) AS u FROM node_rows", format: "JSONEachRow" });
    assert.deepEqual(await count.json(), [{ c: 50000, u: 50000 }]);
  },
  async stream_rows(client) {
    const result = await client.query({ query: "SELECT number FROM numbers(300000)", format: "JSONEachRow" });
    let rows = 0;
    for await (const batch of result.stream()) rows += batch.length;
    assert.equal(rows, 300000);
  },
  async errors(client) {
    await assert.rejects(client.query({ query: "SELECT * FROM nothere" }), (error) => {
      assert.ok(error instanceof ClickHouseError);
      assert.equal(error.code, "60");
      assert.equal(error.type, "UNKNOWN_TABLE");
      return true;
    });
  },
  async error_amid_the_rows(client) {
    const result = await client.query({
      query: "SELECT number, throwIf(number = 3000000, 'too late') FROM numbers(4000000)",
      format: "JSONEachRow",
    });
    await assert.rejects(async () => { for await (const _ of result.stream()); }, /too late/);
  },
  async settings(client) {
    const result = await client.query({
      query: "SELECT getSetting('log_comment') AS c",
      clickhouse_settings: { log_comment: "from node" },
      format: "JSONEachRow",
    });
    assert.deepEqual(await result.json(), [{ c: "from node" }]);
  },
  async sessions(_, connect) {
    const client = connect({ session_id: "node-session" });
    await client.command({ query: "CREATE TEMPORARY TABLE scratch (n UInt8)" });
    await client.insert({ table: "scratch", values: [{ n: 5 }], format: "JSONEachRow" });
    const result = await client.query({ query: "SELECT n FROM scratch", format: "JSONEachRow" });
    assert.deepEqual(await result.json(), [{ n: 5 }]);
    await client.close();
  },
  async compression(_, connect) {
    const client = connect({ compression: { request: true, response: true } });
    await client.command({ query: "CREATE TABLE node_packed (n UInt64) ENGINE = Memory" });
    await client.insert({ table: "node_packed", values: Array.from({ length: 20000 }, (_, n) => ({ n })), format: "JSONEachRow" });
    const result = await client.query({ query: "SELECT n FROM node_packed", format: "JSONEachRow" });
    assert.equal((await result.json()).length, 20000);
    await client.close();
  },
  async exec_raw(client) {
    const result = await client.exec({ query: "SELECT 1 FORMAT CSV" });
    let text = "";
    for await (const chunk of result.stream) text += chunk;
    assert.equal(text, "1\n");
  },
  async abort_stops_the_statement(client) {
    const aborted = new AbortController();
    const query_id = "node-aborted";
    const running = client.query({
      query: "SELECT sleepEachRow(0.1) FROM numbers(300) SETTINGS max_block_size = 1",
      abort_signal: aborted.signal,
      query_id,
      format: "JSON",
    });
    const seen = async () => {
      const query = "SELECT count() AS c FROM system.processes WHERE query LIKE 'SELECT sleepEachRow%'";
      return (await (await client.query({ query, format: "JSONEachRow" })).json())[0].c;
    };
    while ((await seen()) !== 1);
    aborted.abort();
    await assert.rejects(running);
    while ((await seen()) !== 0);
  },
};

async function main() {
  const connect = (more) => createClient({
    url: process.env.ENGINE_URL, username: "default", password: process.env.ENGINE_PASSWORD, database: "steptrail", ...more,
  });
  const passed = [];
  for (const [name, check] of Object.entries(checks)) {
    const client = connect();
    try {
      await check(client, connect);
    } catch (error) {
      console.error(`${name}: ${error.stack}`);
      process.exit(1);
    } finally {
      await client.close();
    }
    passed.push(name);
  }
  console.log(JSON.stringify(passed));
}

main();
