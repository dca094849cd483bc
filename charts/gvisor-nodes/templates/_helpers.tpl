{{- define "gvisor-nodes.name" -}}
{{- .Release.Name -}}
{{- end -}}

{{- define "gvisor-nodes.standalone" -}}
{{- if eq .Values.mode "standalone" }}true{{ end -}}
{{- end -}}

{{- /* Objects without a namespace: as https://gardener.cloud/docs/gardener/extensions/conventions/ wants it in a seed. */ -}}
{{- define "gvisor-nodes.clusterName" -}}
{{- if include "gvisor-nodes.standalone" . -}}
gvisor-nodes:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- else -}}
extensions.gardener.cloud:{{ .Release.Name }}:controller
{{- end -}}
{{- end -}}

{{- define "gvisor-nodes.selector" -}}
app.kubernetes.io/name: gvisor-nodes
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gvisor-nodes.labels" -}}
{{ include "gvisor-nodes.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "gvisor-nodes.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository is needed: the image of the controller" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "gvisor-nodes.leaderElectionId" -}}
{{- ((.Values.config).leaderElection).id | default "runtime-gvisor-leader-election" -}}
{{- end -}}

{{- define "gvisor-nodes.runtimeCluster" -}}
{{- if ((.Values.gardener).runtimeCluster).enabled }}true{{ end -}}
{{- end -}}

{{- define "gvisor-nodes.priorityClassName" -}}
{{- if .Values.priorityClassName -}}
{{ .Values.priorityClassName }}
{{- else if include "gvisor-nodes.standalone" . -}}
system-cluster-critical
{{- else if include "gvisor-nodes.runtimeCluster" . -}}
{{ .Values.gardener.runtimeCluster.priorityClassName | default "" }}
{{- else -}}
gardener-system-900
{{- end -}}
{{- end -}}

{{- define "gvisor-nodes.mountsToken" -}}
{{- if kindIs "invalid" .Values.mountToken -}}
{{ include "gvisor-nodes.standalone" . }}
{{- else if .Values.mountToken -}}
true
{{- end -}}
{{- end -}}

{{- define "gvisor-nodes.vpa" -}}
{{- if not (kindIs "invalid" .Values.vpa.enabled) -}}
{{- if .Values.vpa.enabled }}true{{ end -}}
{{- else if include "gvisor-nodes.standalone" . -}}
{{- if .Capabilities.APIVersions.Has "autoscaling.k8s.io/v1/VerticalPodAutoscaler" }}true{{ end -}}
{{- else -}}
true
{{- end -}}
{{- end -}}

{{- /* Whether nodes are reached by SSH; empty for no. */ -}}
{{- define "gvisor-nodes.ssh" -}}
{{- if eq (((.Values.config).nodes).executor | default "") "ssh" -}}true{{- end -}}
{{- end -}}

{{- /* The file that the controller reads: `config`, what the chart decides, and upstream's names where they are given. */ -}}
{{- define "gvisor-nodes.config" -}}
{{- $config := deepCopy (.Values.config | default dict) -}}
{{- $_ := set $config "mode" .Values.mode -}}
{{- $_ := set $config "metrics" (dict "bindAddress" (printf ":%d" (int .Values.metrics.port))) -}}
{{- $_ := set $config "health" (dict "bindAddress" (printf ":%d" (int .Values.health.port))) -}}
{{- /* One image has everything: the Jobs' is the controller's, unless another is named. */ -}}
{{- $job := dict "executor" "job" "image" (include "gvisor-nodes.image" .) "imagePullPolicy" .Values.image.pullPolicy -}}
{{- $_ := set $config "nodes" (merge ($config.nodes | default dict) $job) -}}
{{- if and (include "gvisor-nodes.runtimeCluster" .) (not (hasKey $config "extensionClasses")) -}}
{{- $_ := set $config "extensionClasses" (list "garden") -}}
{{- end -}}
{{- $given := .Values.controllers -}}
{{- if not (kindIs "invalid" $given.concurrentSyncs) -}}
{{- $_ := set $config "concurrentReconciles" (int $given.concurrentSyncs) -}}
{{- end -}}
{{- if not (kindIs "invalid" $given.ignoreOperationAnnotation) -}}
{{- $_ := set $config "ignoreOperationAnnotation" $given.ignoreOperationAnnotation -}}
{{- end -}}
{{- $seconds := ($given.heartbeat).renewIntervalSeconds -}}
{{- if not (kindIs "invalid" $seconds) -}}
{{- $_ := set $config "heartbeat" (merge (dict "renewIntervalSeconds" (int $seconds)) ($config.heartbeat | default dict)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
