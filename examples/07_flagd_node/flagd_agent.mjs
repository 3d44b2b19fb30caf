// An agent in Node that uses OpenFeature with flagd's provider in file mode: it reads the file of
// `crl sync --format flagd`.
//
//   npm ci && node flagd_agent.mjs FLAGS.json OUTCOMES.jsonl COUNT
import { FlagdProvider } from "@openfeature/flagd-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { bucketOf } from "./choose.mjs";
import { callTheModel, DEFAULTS, TASK } from "./model.mjs";
import { writeOutcome } from "./outcomes.mjs";

const [file, outcomes, count] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new FlagdProvider({ resolverType: "in-process", offlineFlagSourcePath: file }));
const client = OpenFeature.getClient();

for (let number = 0; number < Number(count); number += 1) {
  const sessionId = `customer-${process.pid}-${number}`;
  // Without crl_bucket, flagd's own hash decides, and other runtimes may give this session another variant.
  const context = { targetingKey: sessionId, crl_bucket: bucketOf(sessionId) }; // joins
  const details = await client.getObjectDetails(TASK, DEFAULTS, context);
  const quality = callTheModel(details.value);
  const variantId = details.variant ?? "default";
  writeOutcome(outcomes, TASK, variantId, quality < 0.4 ? "failure" : "success", { // joins
    quality,
    session_id: sessionId,
    active_epoch: details.flagMetadata.epoch,
    variant_source: details.variant === undefined ? "default" : details.reason === "STATIC" ? "file" : "explore",
  });
  console.log(JSON.stringify({ sessionId, variantId, epoch: details.flagMetadata.epoch, quality }));
  await new Promise((resolve) => setTimeout(resolve, 20));
}
await OpenFeature.close();
