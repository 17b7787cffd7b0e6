{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "sluice.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "sluice.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sluice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sluice.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of config.metrics.listen: its port, and the host that the kubelet's probes go to. */}}
{{- define "sluice.metricsPort" -}}
{{ regexFind "[0-9]+$" .Values.config.metrics.listen }}
{{- end }}

{{- define "sluice.metricsHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" .Values.config.metrics.listen "" | trimPrefix "[" | trimSuffix "]" }}
{{- if has $host (list "" "0.0.0.0" "::") }}127.0.0.1{{ else }}{{ $host }}{{ end }}
{{- end }}

{{- define "sluice.metricsAreLocal" -}}
{{- if or (hasPrefix "127." .Values.config.metrics.listen) (hasPrefix "[::1]" .Values.config.metrics.listen) }}true{{ end }}
{{- end }}

{{/* sluice.yaml: `config`, and the keys that other values and the chart itself stand for. */}}
{{- define "sluice.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $kubernetes := dict "enabled" true }}
{{- if .Values.kubernetes.status }}
{{- $_ := set $kubernetes "status" true }}
{{- end }}
{{- with .Values.kubernetes.startupTaint }}
{{- $_ := set $kubernetes "startupTaint" . }}
{{- end }}
{{- if .Values.kubernetes.hostNetwork.enforce }}
{{- $_ := set $kubernetes "hostNetwork" (dict "enforce" true) }}
{{- end }}
{{- $_ := set $config "kubernetes" $kubernetes }}
{{- if .Values.cni.install }}
{{- $_ := set $config "cni" .Values.cni }}
{{- end }}
{{- with .Values.stateDir }}
{{- $_ := set $config "stateDir" . }}
{{- end }}
{{- range $key, $value := $config }}
{{- if and (kindIs "map" $value) (empty $value) }}
{{- $_ := unset $config $key }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}
