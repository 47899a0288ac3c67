{{/* The labels of everything in the release. */}}
{{- define "rook.labels" -}}
app.kubernetes.io/part-of: rook
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{/* The served namespaces, as a JSON list. */}}
{{- define "rook.namespaces" -}}
{{- .Values.clusterNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* The CSI drivers, as a JSON list: named after each served namespace, and, as upstream's is, after the release's. */}}
{{- define "rook.drivers" -}}
{{- $drivers := list -}}
{{- range append (include "rook.namespaces" . | fromJsonArray) .Release.Namespace | uniq | sortAlpha -}}
{{- $drivers = append $drivers (printf "%s.rbd.csi.ceph.com" .) -}}
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

{{/* The annotations by which Prometheus finds a pod, unless a ServiceMonitor does: (list PORT .). */}}
{{- define "rook.scrape" -}}
{{- if not (index . 1).Values.monitoring.enabled -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ index . 0 | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* The values of upstream's chart that are given but not served here, as a JSON list of their paths. */}}
{{- define "rook.notServed" -}}
{{- $found := list -}}
{{- range list "ceph-csi-operator" "currentNamespaceOnly" "customHostnameLabel" "deleteUnusedCrushRules" "disableDeviceHotplug" "discoverDaemonUdev" "enableDiscoveryDaemon" "enableOBCWatchOperatorNamespace" "enforceHostNetwork" "hostpathRequiresPrivileged" "monRunAsRoot" "obcAllowAdditionalConfigFields" "obcProvisionerNamePrefix" "rbacAggregate" "reconcileConcurrentClusters" "scaleDownOperator" -}}
  {{- if hasKey $.Values . }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- range $name, $_ := .Values.csi -}}
  {{- if ne $name "kubeletDirPath" }}{{ $found = append $found (printf "csi.%s" $name) }}{{ end -}}
{{- end -}}
{{- range list "toleration" "tolerationKey" -}}
  {{- if hasKey $.Values.discover . }}{{ $found = append $found (printf "discover.%s" .) }}{{ end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end }}
