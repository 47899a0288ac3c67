//! The bench's custom resource.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "bench.rook.example",
    version = "v1",
    kind = "Widget",
    namespaced,
    schema = "disabled",
    status = "WidgetStatus"
)]
#[serde(default)]
pub struct WidgetSpec {
    pub title: String,
    pub replicas: i32,
    pub settings: BTreeMap<String, String>,
    pub disks: Vec<Disk>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disk {
    pub node: String,
    pub device: String,
    pub size: i64,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WidgetStatus {
    pub token: String,
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
    pub disks: Vec<DiskStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DiskStatus {
    pub node: String,
    pub device: String,
    pub state: String,
    pub osd: i32,
}
