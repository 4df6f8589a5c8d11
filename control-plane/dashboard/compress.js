// Puts a .br and a .gz beside every built file, where that is smaller: the binary serves them as they are.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const files = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );

let [raw, brotli] = [0, 0];
for (const file of files("dist").filter((file) => /\.(html|js|css|svg)$/.test(file))) {
  const bytes = readFileSync(file);
  const forms = {
    ".br": brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
    ".gz": gzipSync(bytes, { level: 9 }),
  };
  for (const [ending, form] of Object.entries(forms)) {
    if (form.length < bytes.length) writeFileSync(file + ending, form);
  }
  raw += statSync(file).size;
  brotli += Math.min(forms[".br"].length, bytes.length);
}
console.log(`dashboard: ${raw} bytes, ${brotli} compressed`);
