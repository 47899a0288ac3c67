// Command schema prints how Kubernetes' built-in kinds are laid out as protobuf, and how the same fields look as JSON.
//
// It reads the types that the API server itself is built from: the struct tags have a field's number, its name in JSON,
// and when JSON leaves it out, which the .proto files do not say. What it does not understand ends it.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	devices "k8s.io/api/resource/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var groups = []runtime.SchemeBuilder{
	admissionregistration.SchemeBuilder, apps.SchemeBuilder, autoscaling.SchemeBuilder, batch.SchemeBuilder,
	coordination.SchemeBuilder, core.SchemeBuilder, discovery.SchemeBuilder, events.SchemeBuilder,
	flowcontrol.SchemeBuilder, networking.SchemeBuilder, node.SchemeBuilder, policy.SchemeBuilder, rbac.SchemeBuilder,
	devices.SchemeBuilder, scheduling.SchemeBuilder, storage.SchemeBuilder,
}

// leaves are types whose JSON is not an object with their fields.
var leaves = map[reflect.Type]string{
	reflect.TypeFor[meta.Time]():            "Time",
	reflect.TypeFor[meta.MicroTime]():       "MicroTime",
	reflect.TypeFor[meta.FieldsV1]():        "Raw",
	reflect.TypeFor[runtime.RawExtension](): "Raw",
	reflect.TypeFor[resource.Quantity]():    "Quantity",
	reflect.TypeFor[intstr.IntOrString]():   "IntOrString",
}

// A field is [number, name in JSON, shape, type, presence], as informers/schema.py describes it.
type field [5]any

var messages = map[string][]field{}

func main() {
	scheme := runtime.NewScheme()
	for _, group := range groups {
		if err := group.AddToScheme(scheme); err != nil {
			panic(err)
		}
	}
	kinds := map[string]string{"meta.k8s.io/v1/PartialObjectMetadata": message(reflect.TypeFor[meta.PartialObjectMetadata]())}
	for gvk, goType := range scheme.AllKnownTypes() {
		if _, watchable := goType.FieldByName("ObjectMeta"); watchable {
			kinds[gvk.GroupVersion().String()+"/"+gvk.Kind] = message(goType)
		}
	}
	fmt.Println(`{"kinds":{`)
	printLines(kinds)
	fmt.Println(`},"messages":{`)
	printLines(messages)
	fmt.Println(`}}`)
}

func printLines[T any](table map[string]T) {
	separator := ""
	for _, key := range slices.Sorted(maps.Keys(table)) {
		value, err := json.Marshal(table[key])
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s%q:%s", separator, key, value)
		separator = ",\n"
	}
	fmt.Println()
}

// message notes a struct's fields and returns its name: its package below k8s.io's, and its own.
func message(goType reflect.Type) string {
	path := strings.TrimPrefix(goType.PkgPath(), "k8s.io/")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "apimachinery/pkg/apis/"), "api/")
	name := strings.ReplaceAll(path, "/", ".") + "." + goType.Name()
	if _, known := messages[name]; known {
		return name
	}
	messages[name] = []field{}
	fields := []field{}
	for i := range goType.NumField() {
		member := goType.Field(i)
		tag := member.Tag.Get("protobuf")
		if tag == "" && member.Type == reflect.TypeFor[meta.TypeMeta]() {
			continue // apiVersion and kind are in the envelope
		}
		where := name + "." + member.Name
		parts := strings.Split(tag, ",")
		if len(parts) < 2 {
			panic(where + " has no protobuf tag")
		}
		number, err := strconv.Atoi(parts[1])
		if err != nil {
			panic(err)
		}
		options := strings.Split(member.Tag.Get("json"), ",")
		goType := member.Type
		if goType.Kind() == reflect.Pointer {
			goType = goType.Elem()
		}
		shape, typeName := describe(goType, where)
		presence := presenceOf(member, options, shape)
		if presence == "inline" {
			options[0] = ""
		}
		fields = append(fields, field{number, options[0], shape, typeName, presence})
	}
	messages[name] = fields
	return name
}

func presenceOf(member reflect.StructField, options []string, shape string) string {
	omitEmpty, omitZero := slices.Contains(options, "omitempty"), slices.Contains(options, "omitzero")
	switch {
	case slices.Contains(options, "inline") || member.Anonymous && options[0] == "":
		return "inline"
	case member.Type.Kind() == reflect.Pointer && omitEmpty:
		return "optional"
	case member.Type.Kind() == reflect.Pointer:
		return "nullable"
	case omitZero, omitEmpty && !(shape == "one" && member.Type.Kind() == reflect.Struct): // a struct is never "empty"
		return "nonzero"
	}
	return "required"
}

func describe(goType reflect.Type, where string) (shape, typeName string) {
	if name, ok := leaves[goType]; ok {
		return "one", name
	}
	switch goType.Kind() {
	case reflect.String:
		return "one", "string"
	case reflect.Bool:
		return "one", "bool"
	case reflect.Int32, reflect.Int64:
		return "one", "int"
	case reflect.Struct:
		return "one", message(goType)
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "one", "bytes"
		}
		return "many", element(goType.Elem(), where)
	case reflect.Map:
		if goType.Key().Kind() == reflect.String {
			return "map", element(goType.Elem(), where)
		}
	}
	panic(fmt.Sprintf("%s is of a type that is not understood: %s", where, goType))
}

func element(goType reflect.Type, where string) string {
	shape, typeName := describe(goType, where)
	if shape != "one" {
		panic(fmt.Sprintf("%s is nested in a way that is not understood: %s", where, goType))
	}
	return typeName
}
