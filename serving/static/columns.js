// Filters on the collection's declared columns, with their values or bounds.

import { make } from "./elements.js";

const INPUTS = { bigint: "number", double: "number", date: "date", timestamp: "datetime-local" };
const UNKNOWN = "unknown";

let shown = ""; // what the controls show; they and their focus stay as they are while it is unchanged

// Fills `box` with a control for each column; `change` is called with the conditions, by column.
export function showColumns(box, columns, conditions, change) {
  const key = (now) => JSON.stringify([columns, now]);
  if (key(conditions) === shown) return;
  shown = key(conditions);
  const controls = columns.map((column) => control(column, conditions[column.name]));
  box.replaceChildren(...controls.map(({ element }) => element));
  box.onchange = () => {
    const given = controls.map(({ name, read }) => [name, read()]).filter(([, condition]) => condition !== undefined);
    const now = Object.fromEntries(given);
    shown = key(now);
    change(now);
  };
}

function control(column, condition) {
  if (INPUTS[column.type]) return range(column, condition);
  return column.values ? choice(column, condition) : text(column, condition);
}

function choice({ name, values }, condition) {
  const chosen = condition === null ? UNKNOWN : values.findIndex((value) => value === condition);
  const options = values.map((value, at) => make("option", { value: at }, String(value)));
  const select = make("select", { autocomplete: "off", "aria-label": name },
    make("option", { value: "" }, "any"), ...options, make("option", { value: UNKNOWN }, "not known"));
  select.value = condition === undefined || chosen === -1 ? "" : String(chosen);
  const read = () => (select.value === UNKNOWN ? null : values[select.value]);
  return { name, read, element: make("label", {}, name, select) };
}

function range({ name, type, min, max }, condition) {
  const kind = INPUTS[type];
  const end = (of, bound) => {
    const hint = kind === "number" ? bound : null;
    const input = make("input", { type: kind, step: "any", placeholder: hint, min, max, "aria-label": `${name} ${of}` });
    input.value = condition?.[of === "from" ? "min" : "max"] ?? "";
    return input;
  };
  const [from, to] = [end("from", min), end("to", max)];
  const value = (input) => (kind === "number" ? Number(input.value) : input.value);
  const read = () => {
    const bounds = [["min", from], ["max", to]].filter(([, input]) => input.value !== "");
    return bounds.length ? Object.fromEntries(bounds.map(([of, input]) => [of, value(input)])) : undefined;
  };
  return { name, read, element: make("span", { class: "range", role: "group", "aria-label": name }, make("b", {}, name), from, "to", to) };
}

function text({ name }, condition) {
  const input = make("input", { maxlength: 500, autocomplete: "off", "aria-label": `${name} is` });
  input.value = typeof condition === "string" ? condition : "";
  return { name, read: () => input.value.trim() || undefined, element: make("label", {}, `${name} is`, input) };
}
