// A text as a QR code (ISO/IEC 18004): bytes, error correction level M, versions 1 to 10, which is up to 213 bytes. Enough for an
// address that a phone's camera shall read off a screen.

/** By version: error correction codewords of a block, then how many blocks there are with how many data codewords. */
const BLOCKS: [number, ...[number, number][]][] = [
  [10, [1, 16]], [16, [1, 28]], [26, [1, 44]], [18, [2, 32]], [24, [2, 43]], [16, [4, 27]], [18, [4, 31]],
  [22, [2, 38], [2, 39]], [22, [3, 36], [2, 37]], [26, [4, 43], [1, 44]],
];
/** By version: where the centres of alignment patterns stand. */
const ALIGNED = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];
const MASKS: ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0, (_, y) => y % 2 === 0, (x) => x % 3 === 0, (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0, (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

// Powers of two and their logarithms in the field of 256 elements that the code is defined over.
const [POWER, LOG] = [new Uint8Array(512), new Uint8Array(256)];
for (let at = 0, value = 1; at < 255; at += 1) {
  POWER[at] = POWER[at + 255] = value;
  LOG[value] = at;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}
const times = (a: number, b: number): number => (a && b ? POWER[LOG[a]! + LOG[b]!]! : 0);

/** The remainder that corrects errors in `data`: `count` codewords. */
function correction(data: number[], count: number): number[] {
  let divisor = [1];
  for (let at = 0; at < count; at += 1) divisor = [...divisor, 0].map((of, nth) => of ^ (nth > 0 ? times(divisor[nth - 1]!, POWER[at]!) : 0));
  const rest = new Array<number>(count).fill(0);
  for (const byte of data) {
    const lead = byte ^ rest.shift()!;
    rest.push(0);
    for (let nth = 0; nth < count; nth += 1) rest[nth]! ^= times(divisor[nth + 1]!, lead);
  }
  return rest;
}

/** `value` followed by the remainder of its division by `divisor`, which has `bits` bits after its first. */
function checked(value: number, divisor: number, bits: number): number {
  let rest = value << bits;
  for (let at = 31; at >= bits; at -= 1) if ((rest >>> at) & 1) rest ^= divisor << (at - bits);
  return (value << bits) | rest;
}

/** All codewords in the order in which they are drawn. */
function codewords(bytes: Uint8Array, version: number): number[] {
  const [perBlock, ...groups] = BLOCKS[version - 1]!;
  const sizes = groups.flatMap(([count, size]) => new Array<number>(count).fill(size));
  const room = sizes.reduce((sum, size) => sum + size, 0);
  const bits = [0, 1, 0, 0];
  const put = (value: number, count: number) => {
    for (let at = count - 1; at >= 0; at -= 1) bits.push((value >>> at) & 1);
  };
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  for (let end = 0; end < 4 && bits.length < room * 8; end += 1) bits.push(0);
  while (bits.length % 8) bits.push(0);
  const data: number[] = [];
  for (let at = 0; at < bits.length; at += 8) data.push(parseInt(bits.slice(at, at + 8).join(""), 2));
  for (let pad = 0; data.length < room; pad += 1) data.push(pad % 2 ? 0x11 : 0xec);
  let begin = 0;
  const blocks = sizes.map((size) => data.slice(begin, (begin += size)));
  const rests = blocks.map((block) => correction(block, perBlock));
  const woven = (of: number[][]) => Array.from({ length: Math.max(...of.map((one) => one.length)) }, (_, nth) => of.flatMap((one) => (nth < one.length ? [one[nth]!] : []))).flat();
  return [...woven(blocks), ...woven(rests)];
}

/** How hard a code is to read: long runs, squares, what looks like a corner, and much of one colour. */
function penalty(dark: boolean[][]): number {
  const size = dark.length;
  let sum = 0;
  const lines = [...dark, ...dark.map((_, x) => dark.map((row) => row[x]!))].map((line) => line.map((of) => (of ? "1" : "0")).join(""));
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
    for (const corner of ["10111010000", "00001011101"]) for (let at = line.indexOf(corner); at >= 0; at = line.indexOf(corner, at + 1)) sum += 40;
  }
  for (let y = 1; y < size; y += 1) for (let x = 1; x < size; x += 1) if (dark[y]![x] === dark[y - 1]![x] && dark[y]![x] === dark[y]![x - 1] && dark[y]![x] === dark[y - 1]![x - 1]) sum += 3;
  const share = lines.slice(0, size).join("").replaceAll("0", "").length / (size * size);
  return sum + 10 * Math.floor(Math.abs(share * 100 - 50) / 5);
}

/** The modules of `text`, row by row, true where they are dark; `null` where it is too long. */
export function qr(text: string): boolean[][] | null {
  const bytes = new TextEncoder().encode(text);
  const version = 1 + BLOCKS.findIndex(([, ...groups], nth) => groups.reduce((sum, [count, size]) => sum + count * size, 0) >= bytes.length + (nth < 9 ? 2 : 3));
  if (version === 0) return null;
  const size = 17 + 4 * version;
  const dark = Array.from({ length: size }, () => new Array<boolean>(size).fill(false));
  const fixed = dark.map((row) => [...row]);
  const set = (x: number, y: number, is: boolean) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    dark[y]![x] = is;
    fixed[y]![x] = true;
  };
  for (let at = 0; at < size; at += 1) for (const [x, y] of [[at, 6], [6, at]] as const) set(x, y, at % 2 === 0);
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) {
    for (let y = -4; y <= 4; y += 1) for (let x = -4; x <= 4; x += 1) set(cx + x, cy + y, ![2, 4].includes(Math.max(Math.abs(x), Math.abs(y))));
  }
  const centres = ALIGNED[version - 1]!;
  const last = centres.length - 1;
  centres.forEach((cx, i) => centres.forEach((cy, j) => {
    if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
    for (let y = -2; y <= 2; y += 1) for (let x = -2; x <= 2; x += 1) set(cx + x, cy + y, Math.max(Math.abs(x), Math.abs(y)) !== 1);
  }));
  const format = (mask: number) => {
    const bits = checked(mask, 0x537, 10) ^ 0x5412;
    for (let at = 0; at < 15; at += 1) {
      const is = ((bits >>> at) & 1) === 1;
      set(8, at < 6 ? at : at < 8 ? at + 1 : size - 15 + at, is);
      set(at < 8 ? size - 1 - at : at < 9 ? 7 : 14 - at, 8, is);
    }
    set(8, size - 8, true);
  };
  format(0);
  if (version >= 7) {
    const bits = checked(version, 0x1f25, 12);
    for (let at = 0; at < 18; at += 1) for (const [x, y] of [[Math.floor(at / 3), size - 11 + (at % 3)], [size - 11 + (at % 3), Math.floor(at / 3)]] as const) set(x, y, ((bits >>> at) & 1) === 1);
  }
  const bits = codewords(bytes, version).flatMap((word) => [7, 6, 5, 4, 3, 2, 1, 0].map((at) => ((word >>> at) & 1) === 1));
  let next = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) if (!fixed[y]![x]) dark[y]![x] = bits[next++] ?? false;
    }
  }
  const free = fixed.map((row) => [...row]);
  const turn = (mask: number) => dark.forEach((row, y) => row.forEach((_, x) => !free[y]![x] && MASKS[mask]!(x, y) && (row[x] = !row[x])));
  const costs = MASKS.map((_, mask) => {
    format(mask);
    turn(mask);
    const cost = penalty(dark);
    turn(mask);
    return cost;
  });
  const best = costs.indexOf(Math.min(...costs));
  format(best);
  turn(best);
  return dark;
}
