// The types of perihelion.js, as TypeScript's compiler reads them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("a program in TypeScript may say what the client does, and nothing else", () => {
  const path = (name) => fileURLToPath(new URL(name, import.meta.url));
  const compiler = spawnSync(process.execPath, [path("node_modules/typescript/bin/tsc"), "-p", path("types")], { encoding: "utf8" });
  assert.equal(compiler.status, 0, compiler.stdout + compiler.stderr);
});
