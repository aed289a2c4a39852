// Makes perihelion.js, the classic script, of perihelion.mjs: `npm ci && npm run build`.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const file = (name) => new URL(name, import.meta.url);

/** The text of the classic script; `minify` is that of terser. */
export async function classic(minify) {
  const source = await readFile(file("perihelion.mjs"), "utf8");
  const script = source.replace("export default Perihelion;\n", "globalThis.Perihelion = Perihelion;\n").replace("export class", "class");
  const { code } = await minify(`(() => {\n${script}})();`, { ecma: 2022, compress: { passes: 2 }, format: { comments: /^!/ } });
  return `${code}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { minify } = await import("terser");
  await writeFile(file("perihelion.js"), await classic(minify));
}
