// The three ways to search with a picture: choose a file, paste it or drop it.

import { make } from "./elements.js";

export function onPicture(input, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file) take(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", event.dataTransfer.types.includes("Files"));
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

const SIDE = 1024; // the model sees a few hundred pixels a side, and the service accepts a few million

// The picture, scaled down to what a query needs; the service decodes what the browser cannot.
export async function shrunk(file) {
  const image = await createImageBitmap(file).catch(() => null);
  const scale = image && SIDE / Math.max(image.width, image.height);
  if (!image || scale >= 1) return file;
  const canvas = make("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  const on = canvas.getContext("2d");
  on.imageSmoothingQuality = "high";
  on.fillStyle = "white"; // as the service does for transparency
  on.fillRect(0, 0, canvas.width, canvas.height);
  on.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const blob = await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.95); });
  return blob ? new File([blob], file.name, { type: blob.type }) : file;
}
