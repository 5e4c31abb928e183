// Bundles the page's program into ../static/explorer.js, with the digest of what it was made from in its first line.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const sources = [
  "package.json",
  "package-lock.json",
  "build.mjs",
  ...readdirSync(new URL("src/", here)).sort().map((name) => `src/${name}`),
];
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\n`).update(readFileSync(new URL(name, here)));

const result = await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: ["src/main.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2021",
  charset: "ascii",
  legalComments: "none",
  write: false,
});
const program = result.outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
const notice = "Parts of d3 (https://d3js.org), copyright Mike Bostock, ISC licence.";
writeFileSync(new URL("../static/explorer.js", here), `/* sources ${digest.digest("hex")}. ${notice} */\n${program}\n`);
