// Read once, before anything looks at the address.
import { arrive } from "./arrival";

export const arrival = arrive();
