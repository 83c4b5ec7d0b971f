// From scores to a mask, in the order and the double precision of headprune_core: hies(), then prune_mask() with its
// constraints. Flat arrays, head i = row * heads + head; a mask holds 1 = kept.

const ROUNDING = 1e-9; // of all parameters: what sums of them may be off by when compared with a budget

/** Python's round(): halves go to the even number. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** HIES of every head: alpha * importance + (1 - alpha) * focus. */
export function hies(importance, entropy, alpha, keep, into = new Float64Array(importance.length)) {
  const high = keep === "high";
  for (let i = 0; i < into.length; i++) {
    into[i] = alpha * importance[i] + (1 - alpha) * (high ? entropy[i] : 1 - entropy[i]);
  }
  return into;
}

/** Units by rising score, ties by place. `order` is sorted anew: from the order just before, that is quick. */
export function removalOrder(scores, order = Int32Array.from(scores.keys())) {
  return order.sort((a, b) => scores[a] - scores[b] || a - b);
}

/**
 * The constraints, made ready for many masks. Without `groups` every head is a unit; with them heads of one row and one
 * number go or stay whole. Units are numbered by their first head. protect and remove say 1 for heads that are held.
 */
export function planOf({ rows, heads, min = 0, uniform = false, groups, parameters, protect, remove, names }) {
  const count = rows * heads;
  const unit = new Int32Array(count);
  const seen = new Map();
  for (let i = 0; i < count; i++) {
    const place = groups ? `${Math.floor(i / heads)} ${groups[i]}` : i;
    if (!seen.has(place)) seen.set(place, seen.size);
    unit[i] = seen.get(place);
  }
  const units = seen.size;
  const plan = { rows, heads, count, min, uniform, unit, units, byParameters: Boolean(parameters), total: 0, problem: "" };
  plan.names = names ?? Array.from({ length: rows }, (_, row) => String(row));
  plan.row = new Int32Array(units);
  plan.size = new Int32Array(units);
  plan.cost = new Float64Array(units); // heads, or parameters
  plan.held = new Int8Array(units); // 1 protected, -1 removed
  plan.protected = 0; // heads
  plan.order = Int32Array.from({ length: units }, (_, u) => u);
  if (uniform && parameters) plan.problem = "A budget of parameters cannot be met with as many heads in every layer; choose one.";
  const hold = (i, way) => {
    const u = unit[i];
    if (plan.held[u] === -way) {
      const members = Array.from(unit.keys()).filter((j) => unit[j] === u);
      plan.problem ||= `${placed(plan, u, members)} to be kept always and to be removed always; take one of the two back.`;
    }
    plan.held[u] = way;
  };
  for (let i = 0; i < count; i++) {
    const u = unit[i];
    const cost = parameters ? parameters[i] : 1;
    plan.row[u] = Math.floor(i / heads);
    plan.size[u] += 1;
    plan.cost[u] += cost;
    plan.total += cost;
    if (protect?.[i]) hold(i, 1);
    if (remove?.[i]) hold(i, -1);
  }
  for (let u = 0; u < units; u++) if (plan.held[u] > 0) plan.protected += plan.size[u];
  return plan;
}

function placed(plan, u, members) {
  const heads = members.map((i) => i % plan.heads).join(", ");
  return `Layer ${plan.names[plan.row[u]]}: head${members.length > 1 ? "s" : ""} ${heads} ${members.length > 1 ? "are" : "is"}`;
}

/** Which heads stay, 1 = kept. Throws an Error that says which constraints cannot be met together, and by how much. */
export function pruneMask(scores, sparsity, plan) {
  if (plan.problem) throw new Error(plan.problem);
  const { rows, heads, row, size, cost, held } = plan;
  const gone = new Uint8Array(plan.units);
  const left = new Int32Array(rows).fill(heads);
  const lanes = plan.uniform ? rows : 1; // each with a budget of its own
  const spent = new Float64Array(lanes);
  const full = new Uint8Array(lanes);
  const budget = plan.byParameters ? (sparsity + ROUNDING) * plan.total : roundHalfEven(sparsity * (plan.uniform ? heads : plan.count));
  const go = (u) => {
    gone[u] = 1;
    left[row[u]] -= size[u];
    spent[plan.uniform ? row[u] : 0] += cost[u];
  };
  for (let u = 0; u < plan.units; u++) if (held[u] < 0) go(u);
  for (let r = 0; r < rows; r++) {
    if (left[r] >= plan.min) continue;
    throw new Error(
      `Layer ${plan.names[r]} keeps at least ${plan.min} heads, but ${heads - left[r]} of its ${heads} are removed by hand: ` +
        `${plan.min - left[r]} too many.`,
    );
  }
  for (const u of removalOrder(unitScores(scores, plan), plan.order)) {
    const lane = plan.uniform ? row[u] : 0;
    if (held[u] || full[lane] || left[row[u]] - size[u] < plan.min) continue;
    if (spent[lane] + cost[u] > budget) full[lane] = 1;
    else go(u);
    if (lanes === 1 && full[0]) break;
  }
  for (let u = 0; u < plan.units; u++) {
    const lane = plan.uniform ? row[u] : 0;
    // there is room for this one, but a constraint keeps it
    if (!gone[u] && !full[lane] && cost[u] <= budget - spent[lane]) throw new Error(shortfall(plan, budget, spent[lane], lane));
  }
  const mask = new Uint8Array(plan.count);
  for (let i = 0; i < mask.length; i++) mask[i] = 1 - gone[plan.unit[i]];
  return mask;
}

/** The mean of each unit's heads, added up in the order of the heads. */
function unitScores(scores, plan) {
  if (plan.units === plan.count) return scores;
  const mean = new Float64Array(plan.units);
  for (let i = 0; i < scores.length; i++) mean[plan.unit[i]] += scores[i];
  for (let u = 0; u < mean.length; u++) mean[u] /= plan.size[u];
  return mean;
}

function shortfall(plan, budget, spent, lane) {
  const reasons = [];
  if (plan.protected) reasons.push(`${plan.protected} head${plan.protected > 1 ? "s are" : " is"} kept always`);
  if (plan.min) reasons.push(`every layer keeps at least ${plan.min}`);
  return (
    `${Math.round(budget)} ${plan.byParameters ? "parameters" : "heads"}${plan.uniform ? ` of layer ${plan.names[lane]}` : ""} are to ` +
    `go but only ${Math.round(spent)} may, ${Math.round(budget - spent)} fewer, because ${reasons.join(" and ")}. ` +
    "Lower the sparsity or loosen a constraint."
  );
}
