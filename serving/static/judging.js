// "Right" and "wrong": what a person says of a hit, for one text or one stored picture.

import { judge, judgements, session } from "./api.js";
import { make, title } from "./elements.js";

const SIGNS = { right: "✓", wrong: "✗" };
let verdicts = null; // by image id; null if nothing can be judged here

// Before the first hits of a search are shown. A query of several terms has no name to be judged by.
export async function begin(place) {
  verdicts = null;
  const query = queried(place);
  if (!query) return;
  const { needs_key, role } = await session().catch(() => ({ needs_key: true }));
  if (needs_key && !["judge", "admin"].includes(role)) return;
  const said = await judgements(query, place.collection).catch(() => null);
  if (said) verdicts = new Map(said.map(({ image_id, verdict }) => [image_id, verdict]));
}

function queried({ q, like, file, terms, compare }) {
  if (file || terms.length || compare) return null;
  if (like) return { query_image: like };
  return q ? { query_text: q } : null;
}

// The two buttons of a hit, or null. `failed` gets the error if the service does not take a verdict.
export function buttons(hit, place, failed) {
  if (!verdicts) return null;
  const both = Object.entries(SIGNS).map(([verdict, sign]) => {
    const name = `${verdict === "right" ? "Right" : "Wrong"}: ${title(hit)}`;
    const button = make("button", { type: "button", value: verdict, title: verdict, "aria-label": name }, sign);
    button.addEventListener("click", async () => {
      const now = verdicts.get(hit.image_id) === verdict ? null : verdict;
      try {
        await judge({ ...queried(place), image_id: hit.image_id, verdict: now, collection: place.collection || undefined });
        verdicts.set(hit.image_id, now);
        press();
      } catch (error) {
        failed(error);
      }
    });
    return button;
  });
  const press = () => {
    for (const button of both) button.setAttribute("aria-pressed", verdicts.get(hit.image_id) === button.value);
  };
  press();
  return make("span", { class: "judge" }, ...both);
}
