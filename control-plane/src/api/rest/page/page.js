"use strict";

// Renders openapi.json. Everything from the document becomes text nodes, never markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const MAX_DEPTH = 6;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// `code` in backticks, the rest as it is.
function prose(text) {
  const line = element("p");
  text.split(/`([^`]+)`/).forEach((part, index) => line.append(index % 2 ? element("code", {}, part) : part));
  return line;
}

function paragraphs(text) {
  return (text || "").split(/\n\n+/).filter(Boolean).map(prose);
}

function resolve(api, schema) {
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  return name ? { name, schema: api.components.schemas[name] || {} } : { name: null, schema: schema || {} };
}

function kind(api, given) {
  const { name, schema } = resolve(api, given);
  if (name) return name;
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.map((choice) => kind(api, choice)).join(" | ");
  const types = [].concat(schema.type || "any");
  return types.map((type) => (type === "array" ? `list of ${kind(api, schema.items || {})}` : type)).join(" | ");
}

function bounds(schema) {
  const names = ["format", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength", "minItems",
    "maxItems", "pattern", "default"];
  return names.filter((name) => schema[name] !== undefined).map((name) => `${name} ${schema[name]}`).join(", ");
}

function row(api, name, schema, required, description) {
  const limits = bounds(resolve(api, schema).schema);
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? " *" : ""),
    element("td", {}, kind(api, schema), limits ? element("div", { class: "dim" }, limits) : null),
    element("td", {}, ...paragraphs(description || schema.description)));
}

function table(rows) {
  const head = ["name", "is", "says"].map((title) => element("th", { scope: "col" }, title));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

// A named type and, folded, the types of its parts.
function shape(api, given, depth, seen) {
  let { name, schema } = resolve(api, given);
  if (schema.type === "array") return shape(api, schema.items || {}, depth, seen);
  if (!schema.properties || depth > MAX_DEPTH || seen.has(name)) return [];
  const within = new Set(seen).add(name);
  const rows = Object.entries(schema.properties)
    .map(([field, part]) => row(api, field, part, (schema.required || []).includes(field), part.description));
  const nested = Object.values(schema.properties).flatMap((part) => {
    const parts = [part, part.items, ...(part.oneOf || []), ...(part.anyOf || [])].filter((inner) => inner && inner.$ref);
    return parts.flatMap((inner) => shape(api, inner, depth + 1, within));
  });
  return [element("details", depth ? {} : { open: "" }, element("summary", {}, name || "fields"), table(rows), ...nested)];
}

function example(content) {
  if (content.example === undefined) return null;
  const text = typeof content.example === "string" ? content.example : JSON.stringify(content.example, null, 2);
  return element("pre", {}, text);
}

function bodies(api, contents) {
  return Object.entries(contents || {}).flatMap(([type, content]) =>
    [element("p", { class: "dim" }, type), example(content), ...shape(api, content.schema || {}, 0, new Set())]);
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The command that makes the call, with the token typed above.
function command(path, method, operation, token) {
  const parameters = operation.parameters || [];
  const query = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=VALUE`).join("&");
  const words = ["curl", "--cacert ca.pem"];
  const json = operation.requestBody && operation.requestBody.content["application/json"];
  const streams = (operation.responses["200"] || {}).content;
  if (streams && streams["text/event-stream"]) words.push("-N");
  if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  if (operation.security) words.push(`-H ${quote(`Authorization: Bearer ${token || "TOKEN"}`)}`);
  if (json) words.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(json.example || {}))}`);
  words.push(quote(location.origin + path.replaceAll("{id}", "ID") + (query ? `?${query}` : "")));
  return words.join(" ");
}

function show(api, path, method, operation, commands) {
  const call = element("pre", {});
  commands.push((token) => { call.textContent = command(path, method, operation, token); });
  const parameters = (operation.parameters || [])
    .map((one) => row(api, `${one.name} (${one.in})`, one.schema || {}, one.required, one.description));
  const responses = Object.entries(operation.responses).map(([status, response]) => {
    const title = element("summary", {}, element("code", {}, status), " ", response.description || "");
    return element("details", status < "300" ? { open: "" } : {}, title, ...bodies(api, response.content));
  });
  return element("section", { class: "operation", id: operation.operationId },
    element("h3", {}, element("span", { class: `method ${method}` }, method), element("code", {}, path)),
    element("p", {}, element("strong", {}, operation.summary || "")), ...paragraphs(operation.description), call,
    ...(parameters.length ? [element("h4", {}, "Parameters"), table(parameters)] : []),
    ...(operation.requestBody ? [element("h4", {}, "Body"), ...bodies(api, operation.requestBody.content)] : []),
    element("h4", {}, "Answers"), ...responses);
}

function operationsOf(api, tag) {
  return Object.entries(api.paths).flatMap(([path, item]) => METHODS
    .filter((method) => item[method] && item[method].tags.includes(tag))
    .map((method) => ({ path, method, operation: item[method] })));
}

function render(api) {
  const [index, main] = [document.getElementById("index"), document.getElementById("operations")];
  const commands = [];
  const shown = [];
  document.getElementById("about").replaceChildren(...prose(api.info.description).childNodes, ` Version ${api.info.version}.`);
  main.replaceChildren();
  for (const tag of api.tags) {
    index.append(element("h2", {}, tag.name));
    main.append(element("h2", {}, tag.name), element("p", {}, tag.description || ""));
    for (const { path, method, operation } of operationsOf(api, tag.name)) {
      const name = element("span", { class: `method ${method}` }, method);
      const link = element("a", { href: `#${operation.operationId}` }, name, path);
      const section = show(api, path, method, operation, commands);
      index.append(link);
      main.append(section);
      shown.push({ link, section, words: `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase() });
    }
  }
  const [token, find] = [document.getElementById("token"), document.getElementById("find")];
  const fill = () => commands.forEach((write) => write(token.value.trim()));
  token.addEventListener("input", fill);
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const { link, section, words } of shown) link.hidden = section.hidden = !words.includes(wanted);
  });
  fill();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
fetch("openapi.json")
  .then((response) => response.json())
  .then(render)
  .catch((error) => { document.getElementById("state").textContent = `The document can't be shown: ${error.message}`; });
