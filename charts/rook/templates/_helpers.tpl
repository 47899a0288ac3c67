{{/* The labels of everything in the release. */}}
{{- define "rook.labels" -}}
app.kubernetes.io/part-of: rook
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{/* What clusterNamespaces says, as a JSON list: a text is a list of one, and nothing is upstream's currentNamespaceOnly. */}}
{{- define "rook.asked" -}}
{{- $asked := .Values.clusterNamespaces -}}
{{- if and (not $asked) (hasKey .Values "currentNamespaceOnly") (not .Values.currentNamespaceOnly) }}{{ $asked = "*" }}{{ end -}}
{{- if kindIs "string" $asked }}{{ $asked = compact (list $asked) }}{{ end -}}
{{- $asked | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* Whether all namespaces are served that have storage clusters. */}}
{{- define "rook.everywhere" -}}
{{- if has "*" (include "rook.asked" . | fromJsonArray) }}true{{ end -}}
{{- end }}

{{/* The namespaces that are served by name, as a JSON list; the release's is one of them where all are. */}}
{{- define "rook.namespaces" -}}
{{- $asked := include "rook.asked" . | fromJsonArray -}}
{{- if has "*" $asked }}{{ $asked = append (without $asked "*") .Release.Namespace | uniq | sortAlpha }}{{ end -}}
{{- $asked | toJson -}}
{{- end }}

{{/* The kinds of which an object makes its namespace one to be served, as a JSON list. */}}
{{- define "rook.homes" -}}
{{- list
  (dict "group" "ceph.rook.io" "version" "v1" "kind" "CephCluster" "plural" "cephclusters")
  (dict "group" "ceph.rook.io" "version" "v1beta1" "kind" "Cluster" "plural" "clusters")
  (dict "group" "ceph.rook.io" "version" "v1" "kind" "CephObjectStoreUser" "plural" "cephobjectstoreusers")
  (dict "group" "ceph.rook.io" "version" "v1" "kind" "CephBucketTopic" "plural" "cephbuckettopics")
  (dict "group" "ceph.rook.io" "version" "v1" "kind" "CephBucketNotification" "plural" "cephbucketnotifications")
  (dict "group" "cassandra.rook.io" "version" "v1alpha1" "kind" "Cluster" "plural" "clusters")
  | toJson -}}
{{- end }}

{{/* The CSI drivers, as a JSON list: named after each served namespace, and, as upstream's is, after the release's. */}}
{{- define "rook.drivers" -}}
{{- $drivers := list -}}
{{- range $namespace := append (include "rook.namespaces" . | fromJsonArray) .Release.Namespace | uniq | sortAlpha -}}
{{- range $kind := $.Files.Get "files/drivers.json" | fromJsonArray -}}
{{- $longest := sub 63 (len $kind.suffix) | int -}}
{{- if gt (len $namespace) $longest -}}
{{- fail (printf "namespace %s has %d characters: expected %d at most, as the name of a CSI driver has 63 at most and its driver is called <namespace>%s" $namespace (len $namespace) $longest $kind.suffix) -}}
{{- end -}}
{{- $drivers = append $drivers (printf "%s%s" $namespace $kind.suffix) -}}
{{- end -}}
{{- end -}}
{{- $drivers | toJson -}}
{{- end }}

{{/* An image's reference: (list .Values.image .) or (list .Values.agent.image .). */}}
{{- define "rook.image" -}}
{{- $image := index . 0 -}}
{{- $image.repository }}:{{ $image.tag | default (index . 1).Chart.AppVersion -}}
{{- end }}

{{/* The pull secrets of a pod or a ServiceAccount. */}}
{{- define "rook.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whether ServiceMonitors are made: where they are asked for and the cluster has the type. */}}
{{- define "rook.serviceMonitors" -}}
{{- if and .Values.monitoring.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor") -}}true{{- end -}}
{{- end }}

{{/* The tolerations of the agent and the mounter; upstream takes a text of YAML, too. */}}
{{- define "rook.nodeTolerations" -}}
{{- $wanted := .Values.csi.pluginTolerations -}}
{{- if kindIs "string" $wanted }}{{ $wanted = fromYamlArray $wanted }}{{ end -}}
{{- concat $wanted .Values.discover.tolerations | toJson -}}
{{- end }}

{{/* The node affinity of the agent and the mounter: an object, or upstream's text "key=value1,value2; key2". */}}
{{- define "rook.nodeAffinity" -}}
{{- $wanted := .Values.csi.pluginNodeAffinity -}}
{{- if kindIs "string" $wanted -}}
{{- $expressions := list -}}
{{- range splitList ";" $wanted -}}
{{- $parts := splitn "=" 2 (trim .) -}}
{{- if $parts._1 -}}
{{- $expressions = append $expressions (dict "key" (trim $parts._0) "operator" "In" "values" (splitList "," (nospace $parts._1))) -}}
{{- else if $parts._0 -}}
{{- $expressions = append $expressions (dict "key" (trim $parts._0) "operator" "Exists") -}}
{{- end -}}
{{- end -}}
{{- if $expressions -}}
{{- dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" (list (dict "matchExpressions" $expressions))) | toJson -}}
{{- else }}{}{{ end -}}
{{- else }}{{ $wanted | toJson }}{{ end -}}
{{- end }}

{{/* The annotations by which Prometheus finds a pod, unless a ServiceMonitor does: (list PORT .). */}}
{{- define "rook.scrape" -}}
{{- if not (include "rook.serviceMonitors" (index . 1)) -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ index . 0 | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* The values of upstream's chart that are given but not served here, as a JSON list of their paths. */}}
{{- define "rook.notServed" -}}
{{- $found := list -}}
{{- range list "ceph-csi-operator" "customHostnameLabel" "deleteUnusedCrushRules" "disableDeviceHotplug" "discoverDaemonUdev" "enableDiscoveryDaemon" "enableOBCWatchOperatorNamespace" "enforceHostNetwork" "hostpathRequiresPrivileged" "monRunAsRoot" "rbacAggregate" "reconcileConcurrentClusters" "scaleDownOperator" -}}
  {{- if hasKey $.Values . }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- range $name, $_ := .Values.csi -}}
  {{- if not (has $name (list "kubeletDirPath" "pluginTolerations" "pluginNodeAffinity" "enablePluginSelinuxHostMount" "topology" "controllerService")) }}{{ $found = append $found (printf "csi.%s" $name) }}{{ end -}}
{{- end -}}
{{- range list "toleration" "tolerationKey" "nodeAffinity" -}}
  {{- if hasKey $.Values.discover . }}{{ $found = append $found (printf "discover.%s" .) }}{{ end -}}
{{- end -}}
{{- if and .Values.monitoring.enabled (not (include "rook.serviceMonitors" .)) }}{{ $found = append $found "monitoring.enabled" }}{{ end -}}
{{- $found | toJson -}}
{{- end }}
