// Bundles the page into the package: page.js, page.css, index.html, and the licences of what is in.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";

const out = process.argv[2] ?? "../src/nucleist/annotation/server/page";
const done = await build({
  entryPoints: { page: "src/main.js" },
  outdir: out, bundle: true, minify: true, format: "esm", target: "es2022",
  legalComments: "none", metafile: true, logLevel: "warning",
});
for (const name of ["index.html", "page.css"]) await copyFile(`src/${name}`, `${out}/${name}`);

const packages = new Set(Object.keys(done.metafile.inputs)
  .map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean));
const texts = [];
for (const name of [...packages].sort()) {
  const about = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
  let licence;
  for (const file of ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"])
    licence ??= await readFile(`node_modules/${name}/${file}`, "utf8").catch(() => undefined);
  if (!licence) throw new Error(`${name}: no licence`);
  texts.push(`${name} ${about.version} (${about.license})\n\n${licence.trim()}\n`);
}
await writeFile(`${out}/licences.txt`, texts.join(`\n${"-".repeat(80)}\n\n`));

// Of what it was made from: a test without Node.js compares it.
const sources = ["build.mjs", "package-lock.json",
  ...(await readdir("src")).sort().map((name) => `src/${name}`)];
const hash = createHash("sha256");
for (const path of sources) hash.update(await readFile(path));
await writeFile(`${out}/sources.sha256`, `${hash.digest("hex")}\n`);
