//! The bench's program on kube-rs. What it does and says is described in bench/runtime/protocol.py.
mod widget;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use widget::Widget;

const SEQUENCE: &str = "bench.rook.example/sequence";

trait Tokened {
    fn token(&self) -> &str;
}

impl Tokened for Pod {
    fn token(&self) -> &str {
        ""
    }
}

impl Tokened for Widget {
    fn token(&self) -> &str {
        self.status.as_ref().map_or("", |status| &status.token)
    }
}

struct Options {
    kubeconfig: String,
    resource: String,
    objects: u64,
    workers: u16,
    cache_only: bool,
    record: bool,
    patch: String,
}

fn options() -> Options {
    let mut values = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.trim_start_matches("--").to_owned();
        let switch = matches!(name.as_str(), "cache-only" | "record");
        let value = if switch { "true".to_owned() } else { arguments.next().expect("every option has a value") };
        values.insert(name, value);
    }
    let text = |name: &str| values.get(name).cloned().unwrap_or_default();
    Options {
        kubeconfig: text("kubeconfig"),
        resource: text("resource"),
        objects: text("objects").parse().expect("--objects is a number"),
        workers: text("workers").parse().unwrap_or(16),
        cache_only: values.contains_key("cache-only"),
        record: values.contains_key("record"),
        patch: text("patch"),
    }
}

fn say(line: Value) {
    println!("{line}");
}

/// What the reconciler counts: a pass is over when as many reconciles are done as were asked for.
struct Context {
    client: Client,
    options: Options,
    processed: AtomicU64,
    pass: Mutex<(&'static str, Instant, u64)>,
    target: AtomicU64,
    patch_began: OnceLock<Instant>,
    patched: AtomicU64,
    seen: Mutex<Vec<(i64, u64)>>,
}

impl Context {
    fn begin(&self, event: &'static str) {
        let target = self.processed.load(Ordering::SeqCst) + self.options.objects;
        *self.pass.lock().unwrap() = (event, Instant::now(), target);
        self.target.store(target, Ordering::SeqCst);
    }

    fn count(&self) {
        if self.processed.fetch_add(1, Ordering::SeqCst) + 1 == self.target.load(Ordering::SeqCst) {
            let (event, began, _) = *self.pass.lock().unwrap();
            say(json!({"event": event, "seconds": began.elapsed().as_secs_f64()}));
        }
    }
}

async fn reconcile<K>(object: Arc<K>, context: Arc<Context>) -> Result<Action, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Tokened + Clone + Debug + DeserializeOwned,
{
    let options = &context.options;
    if options.record {
        if let Some(at) = object.annotations().get(SEQUENCE).and_then(|text| text.parse().ok()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            context.seen.lock().unwrap().push((at, now));
        }
    }
    if !options.patch.is_empty() && object.token() != options.patch {
        let began = *context.patch_began.get_or_init(Instant::now);
        let api = Api::<K>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
        let body = Patch::Merge(json!({"status": {"token": options.patch}}));
        api.patch_status(&object.name_any(), &PatchParams::default(), &body).await?;
        if context.patched.fetch_add(1, Ordering::SeqCst) + 1 == options.objects {
            say(json!({"event": "patched", "seconds": began.elapsed().as_secs_f64()}));
        }
    }
    context.count();
    Ok(Action::await_change())
}

async fn obey(context: Arc<Context>, passes: UnboundedSender<()>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.as_str() {
            "pass" => {
                context.begin("pass");
                passes.unbounded_send(()).expect("the controller runs");
            }
            "seen" => {
                let seen = std::mem::take(&mut *context.seen.lock().unwrap());
                say(json!({"event": "seen", "seen": seen}));
            }
            other => panic!("unknown command {other}"),
        }
    }
}

fn objects<K>(api: Api<K>, writer: reflector::store::Writer<K>) -> impl Stream<Item = Result<K, watcher::Error>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
}

async fn run<K>(client: Client, options: Options)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Tokened
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = reflector::store();
    let stream = objects::<K>(Api::all(client.clone()), writer);
    let store = reader.clone();
    tokio::spawn(async move {
        store.wait_until_ready().await.expect("the watch goes on");
        say(json!({"event": "synced"}));
    });
    if options.cache_only {
        return stream.for_each(|_| future::ready(())).await;
    }
    let config = Config::default().concurrency(options.workers);
    let context = Arc::new(Context {
        client,
        options,
        processed: AtomicU64::new(0),
        pass: Mutex::new(("first", Instant::now(), 0)),
        target: AtomicU64::new(0),
        patch_began: OnceLock::new(),
        patched: AtomicU64::new(0),
        seen: Mutex::new(Vec::new()),
    });
    context.begin("first");
    let (passes, triggers) = unbounded();
    tokio::spawn(obey(context.clone(), passes));
    Controller::for_stream(stream, reader)
        .with_config(config)
        .reconcile_all_on(triggers)
        .run(reconcile::<K>, |_, _, _| Action::requeue(Duration::from_secs(1)), context)
        .for_each(|_| future::ready(()))
        .await;
}

#[tokio::main]
async fn main() {
    let options = options();
    let kubeconfig = Kubeconfig::read_from(&options.kubeconfig).expect("the kubeconfig can be read");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a cluster");
    let client = Client::try_from(config).expect("a client");
    match options.resource.as_str() {
        "pods" => run::<Pod>(client, options).await,
        _ => run::<Widget>(client, options).await,
    }
}
