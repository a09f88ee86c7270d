{{- /* What the schema of the values cannot say. Each message names the value. */ -}}

{{- define "ims-gateway.checks" -}}
{{- $own := dict -}}
{{- range (include "ims-gateway.variables" . | fromYamlArray) }}{{ $_ := set $own .name true }}{{ end -}}
{{- range $number, $variable := .Values.extraEnv }}
{{- if hasKey $own $variable.name }}
{{- fail (printf "extraEnv[%d]: %s is set by the chart; see its value, or settings" $number $variable.name) }}
{{- end }}
{{- end -}}
{{- range $name, $tenant := .Values.tenants }}
{{- if kindIs "map" $tenant }}
{{- if ne ($tenant.name | default $name) $name }}
{{- fail (printf "tenants.%s.name: must be %s, or left out" $name $name) }}
{{- end }}
{{- if and $.Values.accounts (not $.Values.configMaps.platform) (not (has $tenant.account (include "ims-gateway.accountNames" $ | fromYamlArray))) }}
{{- fail (printf "tenants.%s.account: %s is not one of accounts" $name $tenant.account) }}
{{- end }}
{{- end }}
{{- end -}}
{{- /* toYaml drops what holds one of these, or puts a space in the place of U+0085, and says nothing. */}}
{{- range $key, $value := .Values }}
{{- if regexMatch "[\u007f-\u009f]" (toJson $value) }}
{{- fail (printf "%s: a text in it holds a control character (U+007F to U+009F)" $key) }}
{{- end }}
{{- end -}}
{{- range $what, $files := dict "tenants" (include "ims-gateway.tenantFiles" .) "policyTests" (include "ims-gateway.policyTestFiles" .) }}
{{- if gt (len $files) 1000000 }}
{{- fail (printf "%s: %d bytes, and a ConfigMap holds 1 MiB; put them into ConfigMaps of your own, and their names into configMaps.%s" $what (len $files) $what) }}
{{- end }}
{{- end -}}
{{- if and .Values.tls.clientCa.secretName (not (include "ims-gateway.tlsSecretName" .)) }}
{{- fail "tls.clientCa.secretName: needs tls.secretName or tls.certificate.enabled" }}
{{- end -}}
{{- if and .Values.test.apiKeySecretName .Values.tls.clientCa.secretName (not .Values.test.certificateSecretName) }}
{{- fail "test.certificateSecretName: tls.clientCa asks every client for a certificate, and so the test's" }}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
{{- fail "autoscaling.minReplicas: is more than autoscaling.maxReplicas" }}
{{- end -}}
{{- end -}}

{{- define "ims-gateway.accountNames" -}}
{{- range .Values.accounts }}
- {{ .name | quote }}
{{- end }}
{{- end -}}
