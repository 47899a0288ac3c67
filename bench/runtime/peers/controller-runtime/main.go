// The bench's program on controller-runtime. What it does and says is described in bench/runtime/protocol.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	sequence = "bench.rook.example/sequence"
	poll     = 5 * time.Millisecond
)

var (
	resource    = flag.String("resource", "pods", "")
	objects     = flag.Int("objects", 0, "")
	workers     = flag.Int("workers", 16, "")
	lease       = flag.String("lease", "", "")
	cacheOnly   = flag.Bool("cache-only", false, "")
	record      = flag.Bool("record", false, "")
	patch       = flag.String("patch", "", "")
	children    = flag.Int("children", 0, "")
	structured  = flag.Bool("typed", true, "objects as Go types; false: unstructured")
	stdout      sync.Mutex
	processed   atomic.Int64
	target      atomic.Int64
	patched     atomic.Int64
	passEvent   atomic.Value
	passBegan   atomic.Int64
	patchBegan  sync.Once
	patchStart  time.Time
	processBase = time.Now()
)

func say(event string, more map[string]any) {
	line := map[string]any{"event": event}
	for key, value := range more {
		line[key] = value
	}
	text, _ := json.Marshal(line)
	stdout.Lock()
	defer stdout.Unlock()
	fmt.Println(string(text))
}

type reconciler struct {
	client client.Client
	mutex  sync.Mutex
	keys   map[types.NamespacedName]struct{}
	seen   [][2]int64
}

func newObject() client.Object {
	if *structured {
		if *resource == "pods" {
			return &corev1.Pod{}
		}
		return &Widget{}
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	if *resource == "widgets" {
		object.SetGroupVersionKind(widgetVersion.WithKind("Widget"))
	}
	return object
}

func token(object client.Object) string {
	switch typed := object.(type) {
	case *Widget:
		return typed.Status.Token
	case *unstructured.Unstructured:
		found, _, _ := unstructured.NestedString(typed.Object, "status", "token")
		return found
	}
	return ""
}

func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object := newObject()
	if err := r.client.Get(ctx, request.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if *children > 0 {
		var read corev1.PodList
		within := client.InNamespace(request.Namespace)
		if err := r.client.List(ctx, &read, within, client.Limit(int64(*children))); err != nil {
			return reconcile.Result{}, err
		}
		if len(read.Items) != *children {
			return reconcile.Result{}, fmt.Errorf("read %d children", len(read.Items))
		}
	}
	if *record {
		if at, err := strconv.ParseInt(object.GetAnnotations()[sequence], 10, 64); err == nil {
			r.mutex.Lock()
			r.seen = append(r.seen, [2]int64{at, time.Now().UnixNano()})
			r.mutex.Unlock()
		}
	}
	if *patch != "" && token(object) != *patch {
		patchBegan.Do(func() { patchStart = time.Now() })
		body := fmt.Appendf(nil, `{"status":{"token":%q}}`, *patch)
		if err := r.client.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, body)); err != nil {
			return reconcile.Result{}, err
		}
		if patched.Add(1) == int64(*objects) {
			say("patched", map[string]any{"seconds": time.Since(patchStart).Seconds()})
		}
	}
	r.count(request.NamespacedName)
	return reconcile.Result{}, nil
}

func (r *reconciler) count(key types.NamespacedName) {
	done := processed.Add(1)
	if done <= int64(*objects) {
		r.mutex.Lock()
		r.keys[key] = struct{}{}
		r.mutex.Unlock()
	}
	if done == target.Load() {
		began := time.Duration(passBegan.Load())
		say(passEvent.Load().(string), map[string]any{"seconds": (time.Since(processBase) - began).Seconds()})
	}
}

func (r *reconciler) begin(event string, count int) {
	passEvent.Store(event)
	passBegan.Store(int64(time.Since(processBase)))
	target.Store(processed.Load() + int64(count))
}

func (r *reconciler) obey(queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "pass":
			r.mutex.Lock()
			keys := make([]types.NamespacedName, 0, len(r.keys))
			for key := range r.keys {
				keys = append(keys, key)
			}
			r.mutex.Unlock()
			r.begin("pass", len(keys))
			for _, key := range keys {
				queue.Add(reconcile.Request{NamespacedName: key})
			}
		case "seen":
			r.mutex.Lock()
			seen := r.seen
			r.seen = nil
			r.mutex.Unlock()
			say("seen", map[string]any{"seen": seen})
		}
	}
}

// everywhere is a runnable that does not wait for leadership.
type everywhere struct{ manager.RunnableFunc }

func (everywhere) NeedLeaderElection() bool { return false }

func run() error {
	config, err := ctrl.GetConfig() // of the flag --kubeconfig, which controller-runtime defines
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	scheme.AddKnownTypes(widgetVersion, &Widget{}, &WidgetList{})
	metav1.AddToGroupVersion(scheme, widgetVersion)
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Client:                  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Metrics:                 metricsserver.Options{BindAddress: "127.0.0.1:0"},
		HealthProbeBindAddress:  "127.0.0.1:0",
		LeaderElection:          true,
		LeaderElectionID:        *lease,
		LeaderElectionNamespace: "default",
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	informer, err := manager.GetCache().GetInformer(ctx, newObject(), cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	if err := manager.Add(everywhere{func(ctx context.Context) error {
		for !informer.HasSynced() {
			time.Sleep(poll)
		}
		say("synced", nil)
		return nil
	}}); err != nil {
		return err
	}
	if !*cacheOnly {
		r := &reconciler{client: manager.GetClient(), keys: map[types.NamespacedName]struct{}{}}
		r.begin("first", *objects)
		commands := func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			go r.obey(queue)
			return nil
		}
		err := ctrl.NewControllerManagedBy(manager).
			Named("bench").
			For(newObject()).
			WithOptions(controller.Options{MaxConcurrentReconciles: *workers}).
			WatchesRawSource(source.Func(commands)).
			Complete(r)
		if err != nil {
			return err
		}
	}
	return manager.Start(ctx)
}

func main() {
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
