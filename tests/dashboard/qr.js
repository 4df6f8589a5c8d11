// What a camera reads.
import jsQR from "jsqr";
import { PNG } from "pngjs";

/** The text of the QR code that `locator` shows. */
export async function readQr(locator) {
  const { data, width, height } = PNG.sync.read(await locator.screenshot());
  const found = jsQR(new Uint8ClampedArray(data), width, height);
  if (!found) throw new Error("no QR code is seen");
  return found.data;
}
