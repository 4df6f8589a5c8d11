// What the browser recorded of one page by itself: requests, tasks and frames. Times are milliseconds.

const CATEGORIES = ["devtools.timeline", "blink.user_timing", "benchmark", "toplevel"];
/** A task that holds the page for longer keeps it from answering. */
const LONG_TASK_US = 50_000;

/** What happened while `run` did, as the browser's trace events in the order of time. */
export async function traced(browser, page, run) {
  await browser.startTracing(page, { categories: CATEGORIES });
  let recorded;
  try {
    await run();
  } finally {
    recorded = await browser.stopTracing();
  }
  return JSON.parse(recorded.toString("utf8")).traceEvents.sort((a, b) => (a.ts ?? 0) - (b.ts ?? 0));
}

/** The page's own mark of this name; its process and thread are those the page's work is done on. */
function marked(events, name) {
  const found = events.findLast((event) => event.name === name && event.cat?.includes("blink.user_timing"));
  if (!found) throw new Error(`the trace has no mark ${name}`);
  return found;
}

/**
 * What a load cost until the page made `mark` and did not hold its reader up any more: `requests`, `bytes` as they came
 * over the wire with their heads, and `interactive`, from the first request on.
 */
export function load(events, mark) {
  const at = marked(events, mark);
  const own = events.filter((event) => event.pid === at.pid);
  const sent = own.filter((event) => event.name === "ResourceSendRequest" && /^https?:/.test(event.args.data.url));
  const ids = new Set(sent.map((event) => event.args.data.requestId));
  // Parts are told as they are once decoded; what came over the wire is told at an answer's end, head and all. A stream has
  // none, and its parts are not compressed.
  const [parts, whole] = [new Map(), new Map()];
  for (const { name, args } of own) {
    const { requestId, encodedDataLength = 0 } = args?.data ?? {};
    if (!ids.has(requestId)) continue;
    if (name === "ResourceFinish" && encodedDataLength > 0) whole.set(requestId, encodedDataLength);
    else if (name === "ResourceReceiveResponse" || name === "ResourceReceivedData") parts.set(requestId, (parts.get(requestId) ?? 0) + Math.max(0, encodedDataLength));
  }
  let bytes = 0;
  for (const id of ids) bytes += whole.get(id) ?? parts.get(id) ?? 0;
  const tasks = own.filter((event) => event.tid === at.tid && event.name === "ThreadControllerImpl::RunTask" && event.ts + event.dur > at.ts);
  const holding = tasks.filter((task) => task.ts <= at.ts || task.dur > LONG_TASK_US);
  const end = Math.max(at.ts, ...holding.map((task) => task.ts + task.dur));
  return { requests: ids.size, bytes, interactive: (end - sent[0].ts) / 1000 };
}

/** Frames shown of the page between two marks: all of them, and those in which nothing was missing yet. */
export function frames(events, from, to) {
  const [begin, end] = [marked(events, from), marked(events, to)];
  const shown = events.flatMap((event) => {
    const report = event.name === "PipelineReporter" && event.ph === "b" && event.pid === begin.pid ? event.args?.frame_reporter : undefined;
    const counts = report && event.ts >= begin.ts && event.ts <= end.ts && !report.frame_type && /^STATE_PRESENTED/.test(report.state);
    return counts ? [report] : [];
  });
  const seconds = (end.ts - begin.ts) / 1e6;
  return { shown: shown.length / seconds, whole: shown.filter((report) => !report.has_missing_content).length / seconds };
}
