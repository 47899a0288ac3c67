package main

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// widgetVersion is the version that the bench's custom resource is served under.
var widgetVersion = schema.GroupVersion{Group: "bench.rook.example", Version: "v1"}

// Widget is the bench's custom resource.
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WidgetSpec   `json:"spec,omitempty"`
	Status            WidgetStatus `json:"status,omitempty"`
}

// WidgetSpec is what is wanted.
type WidgetSpec struct {
	Title    string            `json:"title,omitempty"`
	Replicas int32             `json:"replicas,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	Disks    []Disk            `json:"disks,omitempty"`
}

// Disk is one disk of a widget.
type Disk struct {
	Node    string            `json:"node,omitempty"`
	Device  string            `json:"device,omitempty"`
	Size    int64             `json:"size,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// WidgetStatus is what is.
type WidgetStatus struct {
	Token              string             `json:"token,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Disks              []DiskStatus       `json:"disks,omitempty"`
}

// DiskStatus is the state of one disk.
type DiskStatus struct {
	Node   string `json:"node,omitempty"`
	Device string `json:"device,omitempty"`
	State  string `json:"state,omitempty"`
	OSD    int32  `json:"osd,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (w *Widget) DeepCopyObject() runtime.Object {
	out := &Widget{TypeMeta: w.TypeMeta, Spec: w.Spec, Status: w.Status}
	w.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec.Settings = maps.Clone(w.Spec.Settings)
	out.Spec.Disks = slices.Clone(w.Spec.Disks)
	for i := range out.Spec.Disks {
		out.Spec.Disks[i].Options = maps.Clone(w.Spec.Disks[i].Options)
	}
	out.Status.Conditions = slices.Clone(w.Status.Conditions)
	out.Status.Disks = slices.Clone(w.Status.Disks)
	return out
}

// WidgetList is a list of widgets.
type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *WidgetList) DeepCopyObject() runtime.Object {
	out := &WidgetList{TypeMeta: l.TypeMeta, Items: make([]Widget, len(l.Items))}
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Widget)
	}
	return out
}
