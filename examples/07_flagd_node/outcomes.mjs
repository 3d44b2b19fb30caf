// Appends outcomes to a file, for `crl publish --file FILE`; topics/README.md of crl-stream describes the fields.
import { appendFileSync } from "node:fs";
import { randomUUID } from "node:crypto";

/** Write one finished invocation; `fields` are further fields of the contract. */
export function writeOutcome(file, task, variantId, status, fields) {
  const [agentName, taskType] = task.split("/");
  const outcome = {
    schema_version: 1,
    invocation_id: randomUUID(),
    timestamp: new Date().toISOString(),
    agent_name: agentName,
    task_type: taskType,
    variant_id: variantId,
    status,
    runtime_id: process.env.CRL_CLIENT_RUNTIME_ID ?? "node-agent",
    ...fields,
  };
  appendFileSync(file, JSON.stringify(outcome) + "\n");
}
