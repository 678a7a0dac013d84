// Sends requests by the types that openapi-typescript has made; compiles only if the document is right.
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./api.d.ts";

const [url, path] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });
const photo = readFileSync(path!);
const img = photo.toString("base64");

const right = await client.POST("/image_recognition", { body: { img, top_k: 2 } });
if (right.error) throw new Error(right.error.error.message);
const success: true = right.data.success;
const result: string = right.data.result;
console.log(success && result);

const wrong = await client.POST("/image_recognition", { body: { img: "!" } });
console.log(wrong.error?.error.code);

const file = await client.POST("/image_recognition_file", {
  body: { img: "", target: "tabby" },
  bodySerializer: ({ target }) => {
    const form = new FormData();
    form.set("img", new Blob([photo]));
    form.set("target", String(target));
    return form;
  },
});
console.log(file.data?.explained?.class);

const batch = await client.POST("/image_recognition_batch", { body: { imgs: [img, "!"] } });
const said = batch.data?.results.map((one) => (one.success ? one.result : one.error.code));
console.log(said?.join(" "));

const model = await client.GET("/model");
console.log(model.data?.architecture);
