// "Right" and "wrong": a person's verdict on a hit, for a query of texts and stored pictures.

import { judge, judgements, session } from "./api.js";
import { make, title } from "./elements.js";

const SIGNS = { right: "✓", wrong: "✗" };
let verdicts = null; // by image id; null if nothing can be judged here

// Called before the first hits of a search are shown.
export async function begin(place) {
  verdicts = null;
  const query = queried(place);
  if (!query) return;
  const { needs_key, role } = await session().catch(() => ({ needs_key: true }));
  if (needs_key && !["judge", "admin"].includes(role)) return;
  const said = await judgements(query, place.collection).catch(() => null);
  if (said) verdicts = new Map(said.map(({ image_id, verdict }) => [image_id, verdict]));
}

// The query to judge. One with an uploaded picture cannot be judged, because uploads are not stored.
function queried({ q, like, file, terms, compare }) {
  if (file || compare) return null;
  if (!terms.length) return like ? { query_image: like } : { query_text: q };
  const first = like ? [{ image_id: like }] : q ? [{ text: q }] : [];
  return { query_terms: [...first, ...terms] };
}

// The two buttons of a hit, or null. `failed` gets the error if the service refuses a verdict.
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
