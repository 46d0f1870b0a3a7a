// How to make the first rollout, for an Airflow without one.
import { element } from "./format.js";

const DEFAULT_CONNECTION = "amplitude_experiment_default";

// A whole DAG file. A JSON string is a Python string too.
export function code({ key, kind, connection }) {
  const dag = `release_${key.replace(/\W+/g, "_").toLowerCase()}`;
  const lines = [
    "from airflow.sdk import DAG",
    "",
    "from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator",
    "",
    `with DAG(${JSON.stringify(dag)}, schedule=None) as dag:`,
    "    AmplitudeRampRolloutOperator(",
    '        task_id="ramp",',
    connection !== DEFAULT_CONNECTION && `        amplitude_conn_id=${JSON.stringify(connection)},`,
    `        ${kind === "experiments" ? "experiment_key" : "flag_key"}=${JSON.stringify(key)},`,
    "        stages=[1, 5, 25, 100],  # percent of users",
    '        soak="12h",  # the time at each stage',
    "    )",
  ];
  return lines.filter((line) => line !== false).join("\n");
}

const more = () => element("p", {}, "The documentation of ", element("code", {}, "airflow-provider-ampexp"), " (the folder ", element("code", {}, "docs"), " of its source) has more: ", element("i", {}, "First rollout"), " starts without an Amplitude account, ",
  element("i", {}, "Guardrails"), " adds checks that roll the flag back, and ", element("i", {}, "Approvals"), " lets a person answer before a stage.");

const block = (about) => element("pre", { tabindex: "0", "aria-label": "DAG file" }, element("code", {}, code(about)));

export const firstConnection = () => element("section", { class: "start", "aria-label": "How to start" },
  element("h2", {}, "No connection of the type Amplitude Experiment"),
  element("p", {}, "The page shows the flags of the connections of this type that you may read. You may read none."),
  element("ol", {},
    element("li", {}, "Create a management API key in Amplitude. It starts with ", element("code", {}, "ampex_"), "."),
    element("li", {}, "Open ", element("a", { href: "../connections", target: "_top", "data-out": "airflow" }, "Connections"), ", and add a connection of the type ", element("i", {}, "Amplitude Experiment"), " with that key."),
    element("li", {}, "Open this page again. It lists the flags, and shows how to roll one out.")),
  more());

export const firstRollout = (connection) => element("section", { class: "start", "aria-label": "How to start" },
  element("h2", {}, "No rollout yet"),
  element("p", {}, "A rollout is a task of a DAG. It raises a flag stage by stage, waits at each stage, and stops when another person changes the flag. No DAG that you may read has rolled out a flag in this Airflow."),
  element("ol", {},
    element("li", {}, "Save this file in the folder of your DAGs, with the key of your flag."),
    element("li", {}, "Unpause the DAG and trigger it."),
    element("li", {}, "The rollout appears on this page within a minute.")),
  block({ key: "new-checkout", kind: "flags", connection }), more());

export const rollThisOut = (about) => element("details", { class: "start", "aria-label": "How to start" },
  element("summary", {}, `How to roll this ${about.kind === "experiments" ? "experiment" : "flag"} out`), block(about), more());
