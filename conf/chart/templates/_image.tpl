{{- /* @ separates a digest from the name; a colon separates a tag. */ -}}
{{- define "weft.image" -}}
{{ .Values.image.repository }}{{ if hasPrefix "sha256:" .Values.image.tag }}@{{ else }}:{{ end }}{{ .Values.image.tag }}
{{- end -}}
