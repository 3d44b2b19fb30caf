/** Your agent goes here; this one only returns the quality of its answer. */
export function callTheModel(configuration) {
  return configuration.temperature > 1 ? Math.random() * 0.3 : 0.7 + Math.random() * 0.3;
}

export const TASK = "refund-agent/answer";
export const DEFAULTS = { model: "m-1", temperature: 0.5 };
